"""Build an index version from the embeddings: python prepare/build_index.py."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.config import Loaded, argument_parser, load
from common.errors import ConfigError
from common.process import run
from common.wire import Matrix
from inference import images
from prepare.chunks import EmbeddingFolder, Entry, Row
from prepare.hashes import location_hash
from prepare.lock import locked
from prepare.progress import Progress
from prepare.recall import recall
from search.index import Build, Rows, Shard, load_shard, write_shard
from search.keys import KEY, Keys, shard_of
from search.manifest import (
    DISTANCE,
    MANIFEST,
    BadIndex,
    Folders,
    Manifest,
    Recall,
    ShardFiles,
    folders_of,
    read_current,
    read_manifest,
    write_current,
    write_manifest,
)
from search.messages import Record

FORMAT = 1
"""Raised when the same embeddings would give other files."""

RECALL_K = 10
RECALL_QUERIES = 200


class Collection(NamedTuple):
    """The images of an index, sorted by key, each with its place in the embedding folder."""

    keys: Keys
    records: list[Record]
    places: NDArray[np.int32]
    chunks: dict[int, Matrix]
    entry: Entry
    digest: str

    def rows(self, chosen: NDArray[np.intp]) -> Rows:
        """The images at `chosen`, with their vectors."""
        vectors = np.empty((len(chosen), self.entry.dim), dtype=np.float32)
        chunk, row = self.places[chosen].T
        for number in np.unique(chunk):
            vectors[chunk == number] = self.chunks[number][row[chunk == number]]
        return Rows(vectors, self.keys[chosen], [self.records[i] for i in chosen])


def build(loaded: Loaded) -> Manifest:
    """Build and put in use the next version, unless nothing has changed; raises ConfigError."""
    prepare = loaded.config.prepare
    folders = folders_of(loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
    embeddings = EmbeddingFolder(loaded.path(prepare.embedding_dir))
    with locked(embeddings.path), locked(folders.index):
        collection = read_collection(embeddings)
        inputs = _digest(loaded, collection)
        current = _current(folders)
        if current and current.inputs == inputs:
            return current
        version = _next_version(folders)
        shards = _write_shards(loaded, folders, version, collection)
        manifest = _describe(loaded, folders, version, collection, shards, inputs)
        write_manifest(folders, manifest)
        write_current(folders, version)
        _prune(folders, version, prepare.keep_versions)
        return manifest


def read_collection(embeddings: EmbeddingFolder) -> Collection:
    """All live images of the embedding folder; raises ConfigError when there are none."""
    live = embeddings.live()
    if not len(live):
        raise ConfigError("there are no images to index")
    used = set(live[:, 0].tolist())
    entries = {entry.chunk: entry for entry in embeddings.entries() if entry.chunk in used}
    rows = {chunk: embeddings.rows(chunk) for chunk in used}
    chosen = [rows[chunk][row] for chunk, row in live.tolist()]
    keys = np.array([_key(row) for row in chosen], dtype=KEY)
    order = np.argsort(keys, order=("content", "location"))
    digest = hashlib.sha256(live.tobytes())
    for chunk in sorted(used):
        digest.update(msgspec.json.encode(entries[chunk].sha256))
    return Collection(
        keys[order],
        [Record(chosen[i].path, chosen[i].metadata) for i in order],
        live[order],
        {chunk: embeddings.vectors(entries[chunk]) for chunk in used},
        entries[int(live[0, 0])],
        digest.hexdigest(),
    )


def _key(row: Row) -> tuple[int, int, int]:
    return int(row.content, 16), location_hash(row.path), int(row.perceptual, 16)


def _digest(loaded: Loaded, collection: Collection) -> str:
    """Digest of all that the files of a version depend on."""
    prepare = loaded.config.prepare
    how = (FORMAT, loaded.config.search.shard_count, prepare.M, prepare.ef_construction)
    return hashlib.sha256(f"{how} {collection.digest}".encode()).hexdigest()


def _current(folders: Folders) -> Manifest | None:
    """The manifest of the version in use, if it has a good one."""
    name = read_current(folders)
    try:
        return read_manifest(folders, name) if name else None
    except BadIndex:
        return None


def _next_version(folders: Folders) -> str:
    """A fresh name, and its three folders; what a killed run left under no manifest is deleted."""
    numbers = [0]
    for path in folders.index.glob("v[0-9]*"):
        if (path / MANIFEST).exists():
            numbers.append(int(path.name[1:]))
        else:
            _delete(folders, path.name)
    version = f"v{max(numbers) + 1:06}"
    for folder in folders.all():
        (folder / version).mkdir(parents=True, exist_ok=True)
    return version


def _delete(folders: Folders, version: str) -> None:
    """Delete a version, its manifest first, so that it is never torn."""
    (folders.index / version / MANIFEST).unlink(missing_ok=True)
    for folder in folders.all():
        shutil.rmtree(folder / version, ignore_errors=True)


def _prune(folders: Folders, current: str, keep: int) -> None:
    """Delete all versions but the last `keep`."""
    names = sorted(path.name for path in folders.index.glob("v[0-9]*") if path.name != current)
    for name in names[: len(names) - (keep - 1)]:
        _delete(folders, name)


def _write_shards(
    loaded: Loaded, folders: Folders, version: str, collection: Collection
) -> list[ShardFiles]:
    """Build all shards, several at a time where there are several; the order is kept."""
    prepare = loaded.config.prepare
    count = loaded.config.search.shard_count
    cores = os.cpu_count() or 1
    how = Build(prepare.M, prepare.ef_construction, max(1, cores // count))

    def write(shard: int) -> ShardFiles:
        rows = collection.rows(_members(collection, shard, count))
        return write_shard(folders, version, shard, rows, how)

    with (
        ThreadPoolExecutor(min(cores, count)) as pool,
        Progress("indexing", len(collection.keys)) as progress,
    ):
        shards = []
        for files in pool.map(write, range(count)):
            progress.add(files.count)
            shards.append(files)
        return shards


def _members(collection: Collection, shard: int, count: int) -> NDArray[np.intp]:
    return np.flatnonzero(shard_of(collection.keys["content"], count) == shard)


def _describe(
    loaded: Loaded,
    folders: Folders,
    version: str,
    collection: Collection,
    shards: list[ShardFiles],
    inputs: str,
) -> Manifest:
    """The manifest of the files that were written, with the recall that they give."""
    prepare, entry = loaded.config.prepare, collection.entry
    return Manifest(
        version,
        datetime.now(UTC).isoformat(timespec="seconds"),
        entry.model,
        entry.space,
        images.VERSION,
        entry.dim,
        DISTANCE,
        prepare.M,
        prepare.ef_construction,
        len(collection.keys),
        inputs,
        _measure(loaded, folders, version, collection, shards),
        shards,
    )


def _measure(
    loaded: Loaded,
    folders: Folders,
    version: str,
    collection: Collection,
    shards: list[ShardFiles],
) -> Recall:
    """Recall of the written index for images drawn from it; one shard at a time in memory."""
    ef_search = loaded.config.search.ef_search
    total = len(collection.keys)
    drawn = np.random.default_rng(0).choice(total, min(RECALL_QUERIES, total), replace=False)
    queries = collection.rows(drawn).vectors

    def pairs() -> Iterator[tuple[Shard, Matrix]]:
        for number, files in enumerate(shards):
            members = _members(collection, number, len(shards))
            shard = load_shard(folders, version, collection.entry.dim, files)
            yield shard, collection.rows(members).vectors

    value = recall(queries, pairs(), RECALL_K, ef_search)
    return Recall(RECALL_K, len(queries), ef_search, round(value, 4))


def report(manifest: Manifest) -> None:
    """Print what is in use now."""
    recalled = manifest.recall
    print(
        f"version {manifest.version}: {manifest.count} images in {len(manifest.shards)} shards, "
        f"recall@{recalled.k} {recalled.value} "
        f"(ef {recalled.ef_search}, {recalled.queries} queries)",
        flush=True,
    )


def main() -> None:
    """Build the next version from what config.json names."""
    report(build(load(argument_parser(__doc__).parse_args().config)))


if __name__ == "__main__":
    run(main)
