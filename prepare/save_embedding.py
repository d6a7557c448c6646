"""Embed the images of a collection: python prepare/save_embedding.py [IMAGES ...]."""

import os
import sys
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from common.config import Loaded, load
from common.errors import ConfigError
from common.images.renditions import RenditionFolder
from common.process import argument_parser, run
from inference.clip.model import Model, load_model, space_of_model
from prepare.chunks import LIVE_COLUMNS, EmbeddingFolder, Row, Skipped
from prepare.embed import Decoding, Embedding, embed_chunk
from prepare.left_out import LIST_OPTION, LeftOut, listing, printable, summary
from prepare.lock import locked
from prepare.progress import Progress
from prepare.sources import Source, find_sources
from prepare.told_paths import told_from

SHOWN = 20
"""The skipped images that a run names without being asked."""


class StoredRow(NamedTuple):
    """The stored result of a path: its row in a finished chunk, or why it was skipped (row -1)."""

    chunk: int
    row: int
    told: Row | Skipped


class EmbedRun(NamedTuple):
    """The result of a run: how many images are live, how many were tried, and what is not live."""

    images: int
    embedded: int
    skipped: list[Skipped]
    left_out: list[LeftOut]


def save_embeddings(loaded: Loaded, inputs: Sequence[Path]) -> EmbedRun:
    """Embed the new and the changed images of a collection; raises ConfigError.

    `inputs` name the whole collection: all other images leave it.
    """
    prepare = loaded.config.prepare
    folder = EmbeddingFolder(loaded.path(prepare.embedding_dir))
    with locked(folder.path):
        sources, left_out, roots = find_sources(inputs, loaded.root, prepare)
        settings = loaded.config.inference
        space = space_of_model(settings.clip, loaded.root)
        known = _known(folder, space)
        todo = [source for source in sources if not _is_unchanged(source, known)]
        if todo or not known:  # else the model need not be loaded
            model = load_model(settings.clip, settings, loaded.root, text=False, space=space)
            if prepare.feature_dim not in (None, model.dim):
                raise ConfigError(
                    f"config: Prepare.feature-dim is {prepare.feature_dim}, "
                    f"but {model.name} gives {model.dim} numbers"
                )
            _embed_all(loaded, folder, model, todo)
        live, skipped = _finish(folder, space, sources, roots)
        return EmbedRun(live, len(todo), skipped, left_out)


def _known(folder: EmbeddingFolder, space: str) -> dict[str, StoredRow]:
    """The last stored result of each path in the finished chunks of this model."""
    known: dict[str, StoredRow] = {}
    for entry in folder.entries():
        if entry.space == space:
            for number, row in enumerate(folder.rows(entry.chunk)):
                known[row.path] = StoredRow(entry.chunk, number, row)
            for skipped in folder.skipped(entry.chunk):
                known[skipped.path] = StoredRow(entry.chunk, -1, skipped)
    return known


def _is_unchanged(source: Source, known: dict[str, StoredRow]) -> bool:
    if source.path not in known:
        return False
    stored = known[source.path].told
    same = (stored.size_bytes, stored.mtime_ns) == (source.size_bytes, source.mtime_ns)
    if isinstance(stored, Skipped):
        return same and not stored.again and source.problem in (None, stored.reason)
    return same and source.problem is None and stored.metadata == source.metadata


def _embed_all(
    loaded: Loaded, folder: EmbeddingFolder, model: Model, todo: Sequence[Source]
) -> None:
    """Embed and write chunk after chunk."""
    prepare = loaded.config.prepare
    if model.image is None or model.preprocessing is None:
        raise ConfigError(f"Inference.clip: {model.name} embeds no images")
    decoding = Decoding(
        loaded.root, model.preprocessing, loaded.config.inference.max_pixels, *_renditions(loaded)
    )
    first = 1 + max((entry.chunk for entry in folder.entries()), default=0)
    threads = prepare.threads or os.cpu_count() or 1
    tower = model.image
    with (
        ThreadPoolExecutor(threads) as pool,
        ThreadPoolExecutor(tower.replicas) as devices,
        Progress("embedding", len(todo)) as progress,
    ):
        size = prepare.batch_size or tower.batch_size
        embedding = Embedding(tower.embed, size, tower.replicas, devices)
        for number, sources in enumerate(_split(todo, prepare.chunk_size), first):
            chunk = embed_chunk(sources, decoding, pool, embedding, progress.add)
            folder.write(number, chunk, model.name, model.space)


def _renditions(loaded: Loaded) -> tuple[RenditionFolder, list[int]]:
    """Where renditions are kept, and the sizes of those that are made here."""
    front = loaded.config.front
    pixels = {"thumbnail": front.thumbnail_pixels, "preview": front.preview_pixels}
    folder = RenditionFolder(loaded.path(front.rendition_dir), front.rendition_bytes)
    return folder, [pixels[name] for name in loaded.config.prepare.renditions]


def _split(sources: Sequence[Source], size: int) -> Iterator[Sequence[Source]]:
    for start in range(0, len(sources), size):
        yield sources[start : start + size]


def _finish(
    folder: EmbeddingFolder, space: str, sources: Sequence[Source], roots: Set[str]
) -> tuple[int, list[Skipped]]:
    """Write the live rows, and drop chunks of this model without images of the collection.

    The result is how many rows are live, and the images that were skipped.
    """
    known = _known(folder, space)
    stored_rows = [known[source.path] for source in sources]
    told = told_from([source.path for source in sources], roots)
    live = [
        (stored.chunk, stored.row, begin)
        for stored, begin in zip(stored_rows, told, strict=True)
        if stored.row >= 0
    ]
    folder.write_live(np.array(live, dtype=np.int32).reshape(-1, LIVE_COLUMNS))
    used = {stored.chunk for stored in stored_rows}
    ours = [entry.chunk for entry in folder.entries() if entry.space == space]
    if dead := [chunk for chunk in ours if chunk not in used]:
        folder.drop(dead)
    folder.sweep()
    skipped = [stored.told for stored in stored_rows if isinstance(stored.told, Skipped)]
    return len(live), skipped


def report(outcome: EmbedRun, *, list_left_out: bool) -> None:
    """Print the result of a run, and all that it left out if asked to."""
    shown = outcome.skipped if list_left_out else outcome.skipped[:SHOWN]
    for skipped in shown:
        print(printable(f"skipped {skipped.path}: {skipped.reason}"))
    if more := len(outcome.skipped) - len(shown):
        print(f"skipped {more} more: {LIST_OPTION} shows them")
    if list_left_out:
        print("".join(f"{line}\n" for line in listing(outcome.left_out)), end="")
    if outcome.left_out:
        print(summary(outcome.left_out))
    print(
        f"{outcome.images} images, {outcome.embedded} looked at in this run, "
        f"{len(outcome.skipped)} skipped",
        flush=True,
    )


def check(outcome: EmbedRun, max_bad: int | None) -> None:
    """Exit with status 1 when more than `max_bad` images were skipped."""
    if max_bad is not None and len(outcome.skipped) > max_bad:
        sys.exit(1)


def main() -> None:
    """Embed the images that the command line or config.json names."""
    parser = argument_parser(__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    loaded = load(arguments.config)
    outcome = save_embeddings(loaded, inputs_of(loaded, arguments.images))
    report(outcome, list_left_out=arguments.list_left_out)
    check(outcome, arguments.max_bad)


def add_arguments(parser) -> None:  # type: ignore[no-untyped-def]
    """The options that this step and prepare.py share."""
    parser.add_argument(
        "images", nargs="*", help="folders, lists (.txt), tables (.csv, .parquet) or files"
    )
    parser.add_argument(
        "--max-bad", type=int, metavar="N", help="fail when more than N images are skipped"
    )
    parser.add_argument(
        LIST_OPTION, action="store_true", help="name each file and folder that is not looked at"
    )


def inputs_of(loaded: Loaded, named: Sequence[str]) -> list[Path]:
    """The inputs that the command line names, else those of config.json."""
    if named:
        return [Path(name).absolute() for name in named]
    return [loaded.path(name) for name in loaded.config.prepare.images]


if __name__ == "__main__":
    run(main)
