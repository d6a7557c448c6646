"""Measure what limits a search, each part alone: python benchmarks/limits.py.

The model in a loop of its own against the same over HTTP, hnswlib in a loop over all shards, and
Flask that does nothing.
"""

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)


from benchmarks import drivers, embedding, generated
from benchmarks.drivers import Measured
from benchmarks.figures import Contender, Figure, Load, median_figure, table, take_turns
from common.config import Config, Loaded, load
from common.errors import ConfigError
from common.process import argument_parser, run
from common.wire import Matrix
from inference.clip.model import load_model
from search import hnsw
from search.ann_index import AnnPaths
from search.index import ef_of_shard
from search.manifest import BadIndex, folders_of, manifest_in_use
from devtools.services import running

SECTION = "limits"
BATCH = 64
QUERIES = 16 * BATCH
K = 10
SECONDS = 5
FLASK = "bare Flask"


def figures(runs: Mapping[str, Sequence[Measured]]) -> list[Figure]:
    """Queries a second of each contender, whatever its name."""
    return [
        median_figure(SECTION, name, [one.requests_per_s for one in measured], "queries/s")
        for name, measured in runs.items()
    ]


def hnswlib_alone(config: Config, root: Path, queries: Matrix) -> Contender:
    """hnswlib in a loop over all shards of the index that `config` names, one after the other.

    Batches of 64 of `queries`, round and round; `ef` and threads are those of a search server.
    """

    @contextmanager
    def start() -> Iterator[Load]:
        prepare = config.prepare
        folders = folders_of(root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
        try:
            manifest = manifest_in_use(folders)
        except BadIndex as error:
            raise ConfigError(str(error)) from None
        where = folders.index / manifest.version
        shards = [
            (hnsw.load(AnnPaths(where / one.index.name), manifest.dim, one.count), one.count)
            for one in manifest.shards
        ]
        ef = ef_of_shard(config.search.ef_search, len(shards))
        starts = itertools.cycle(range(0, len(queries) - BATCH + 1, BATCH))
        threads = config.search.threads or os.cpu_count() or 1

        def search() -> None:
            at = next(starts)
            for shard, count in shards:
                shard.nearest(queries[at : at + BATCH], min(K, count), ef, threads)

        embedding.timed(search, BATCH, 1)
        yield lambda: embedding.timed(search, BATCH, SECONDS)

    return Contender(hnswlib_name(config.search.shard_count), start)


def hnswlib_name(shards: int) -> str:
    """What the contender with so many shards is called."""
    return f"hnswlib alone, {shards} shards"


def hello(config: dict[str, Any], folder: Path) -> Contender:
    """Flask that does nothing, under the gunicorn of middle; the same POST each time."""

    @contextmanager
    def start() -> Iterator[Load]:
        body = folder / "hello.json"
        body.write_text('{"text": "hello"}')
        with running("benchmarks/hello.py", config, cwd=folder) as service:
            yield drivers.repeated(f"http://{service.address}/search", body)

    return Contender(FLASK, start)


def measure(loaded: Loaded, arguments: argparse.Namespace, folder: Path) -> list[Figure]:
    """All figures; `folder` is for the files of the load."""
    settings = loaded.config.inference
    config = generated.service_config(loaded)
    model = load_model(settings.clip, settings, loaded.root)
    collection = generated.generate(model, arguments.vectors, loaded.path(generated.FOLDER))
    queries = model.encode_text(list(itertools.islice(generated.queries(), QUERIES)))
    searching = [hello(config, folder)]
    for shards in arguments.shards:
        indexed = generated.parsed(generated.index(config, shards, collection))
        searching.append(hnswlib_alone(indexed, collection, queries))
    runs = take_turns(searching, arguments.rounds)
    embedded = take_turns(embedding.contenders(settings, loaded.root, folder), arguments.rounds)
    return [*embedding.figures(embedded), *figures(runs)]


def main() -> None:
    """Measure and print the table."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=3, metavar="N", help="of which the medians count")
    add("--vectors", type=int, default=100_000, metavar="N", help="that hnswlib searches")
    add("--shards", type=int, nargs="+", default=[1, 4, 21], metavar="N")
    arguments = parser.parse_args()
    drivers.require_programs()
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        print(table(measure(load(arguments.config), arguments, Path(folder))))


if __name__ == "__main__":
    run(main)
