"""Embed a collection and index it: python prepare/prepare.py [COMMAND] [PATH ...].

Without a PATH, the collection is looked through again. PATH is a folder, a tar, a list (.txt),
a table (.csv, .tsv, .jsonl, .parquet) or a file. It is added to the collection, which remembers it.

commands:
  add PATH ...     add to the collection, also what lies in one of its folders
  remove PATH ...  remove from the collection
  list             print what the collection was told to hold
  status           print how many images of it can be searched
  watch            look through it whenever files of it change, until it is ended
"""

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.config import Loaded, load
from common.errors import ConfigError
from common.process import argument_parser, run
from prepare import build_index, save_embedding, status
from prepare.chunk_tasks import Embedder
from prepare.chunks import EmbeddingFolder
from prepare.embed_run import check, report
from prepare.lock import writing_into
from prepare.options import absolute, add_arguments
from prepare.parts import WHOLE_RUN, DoAll, Part, part_of
from prepare.plans import PlanFolder, Worker, open_plans
from prepare.roots import Change
from prepare.shard_tasks import ShardBuilder
from prepare.watch import add_watch_arguments, watch
from search.index import ann_module
from search.version_folders import unfinished

CHANGES = ("add", "remove")
VIEWS = {"list": status.list_roots, "status": status.print_status}
ALONE = (*VIEWS, "watch")


def main() -> None:
    """Do what the command line says."""
    parser = argument_parser(__doc__)
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument("words", nargs="*", metavar="[COMMAND] [PATH ...]")
    add_arguments(parser)
    add_watch_arguments(parser)
    parser.add_argument(
        "--part",
        type=part_of,
        default=WHOLE_RUN,
        metavar="I/N",
        help="do part I of a run in N parts, numbered from 0: start all of them",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="what does the work: this machine, or a Ray cluster (default: local)",
    )
    arguments = parser.parse_args()
    loaded = load(arguments.config)
    command, names = _split(arguments.words)
    if command in ALONE and names:
        raise ConfigError(f"{command} takes no path; a folder of this name is ./{command}")
    part: Part = arguments.part
    in_parts, on_ray = part != WHOLE_RUN, arguments.engine == "ray"
    if command in ALONE and (in_parts or on_ray):
        raise ConfigError(f"{command} takes neither --part nor --engine ray")
    if in_parts and on_ray:
        raise ConfigError("--part and --engine ray are two ways to share out a run: take one")
    if part.number:
        _follow(loaded, part)
    elif command == "watch":
        watch(loaded, arguments)
    elif command in VIEWS:
        VIEWS[command](loaded)
    else:
        _prepare(loaded, _change(command, names), arguments)


def _prepare(loaded: Loaded, change: Change, options: Namespace) -> None:
    """Embed the images, then build the index."""
    ann_module(loaded.config.prepare.index)  # a missing package stops the run before the work
    with _engine(loaded, options) as do_all:
        outcome = save_embedding.save_embeddings(
            loaded,
            change,
            accept_loss=options.accept_loss,
            accept_log=options.accept_log,
            do_all=do_all,
        )
        report(outcome, list_left_out=options.list_left_out)
        build_index.report(build_index.build(loaded, do_all))
    check(outcome, options.max_bad)


@contextmanager
def _engine(loaded: Loaded, options: Namespace) -> Iterator[DoAll]:
    """What has the tasks of a run done; raises MissingPackage."""
    if options.engine == "ray":
        from prepare import ray_runner  # imported here, as ray is optional, and slow to import

        with ray_runner.cluster(loaded) as do_all:
            yield do_all
    else:
        part: Part = options.part
        yield part.do_all
        embeddings = loaded.path(loaded.config.prepare.embedding_dir)
        with writing_into(embeddings):
            part.end(embeddings)


def _follow(loaded: Loaded, part: Part) -> None:
    """Do a part that neither plans nor finishes."""
    embeddings = EmbeddingFolder(loaded.path(loaded.config.prepare.embedding_dir))
    embedder, builder = Embedder(loaded), ShardBuilder(loaded)

    def look() -> Iterator[tuple[PlanFolder, Worker]]:
        yield from ((plan, embedder) for plan in embeddings.plans())
        for version in unfinished(builder.folders):
            plans = open_plans(builder.folders.index / version)
            yield from ((plan, builder) for plan in plans)

    with writing_into(embeddings.path):
        part.follow(embeddings.path, look)


def _split(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command, "" for none, and the names after it."""
    if words and words[0] in (*CHANGES, *ALONE):
        return words[0], words[1:]
    return "", words


def _change(command: str, names: Sequence[str]) -> Change:
    """What a command changes; raises ConfigError."""
    if command and not names:
        raise ConfigError(f"{command} needs a path; a folder of this name is ./{command}")
    paths = absolute(names)
    if command == "remove":
        return Change(remove=paths)
    return Change(add=paths, inner=command == "add")


if __name__ == "__main__":
    run(main)
