"""Build an index version from the embeddings: python prepare/build_index.py."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from common.config import Loaded, load
from common.cores import usable_cores
from common.internal_auth import InternalAuth
from common.process import argument_parser, run
from common.wire import Matrix
from inference.clip import images
from prepare.chunks import EmbeddingFolder
from prepare.collection import Collection, read_collection
from prepare.rollout import roll_out
from prepare.live_log import trim
from prepare.lock import locked
from prepare.members import Folded, read_folded
from prepare.progress import Progress
from prepare.publishing import begin_publishing
from prepare.recall import recall
from prepare.versions import chunks_of_versions, find_version, next_version
from search.ann_index import Build
from search.fields import fields_of_index
from search.index import ef_of_shard, ann_module, load_shard, write_shard
from search.segment import Segment
from search.manifest import (
    DISTANCE,
    BadIndex,
    Folders,
    Manifest,
    Recall,
    ShardFiles,
    folders_of,
    manifest_in_use,
    write_manifest,
)
from search.messages import Fields

FORMAT = 5
"""To be increased with each change that gives other files for the same embeddings."""

RECALL_K = 10
RECALL_QUERIES = 200


def build(loaded: Loaded) -> Manifest:
    """Build the next version and put it in use, unless nothing has changed; raises ConfigError.

    The call returns when the running search servers use the version. A server that refuses the
    version is also a ConfigError.
    """
    prepare = loaded.config.prepare
    folders = folders_of(loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
    embeddings = EmbeddingFolder(loaded.path(prepare.embedding_dir))
    ann_module(prepare.index)  # a missing package stops the run before the work
    inside = InternalAuth(loaded.config.inside, loaded.root)
    with locked(embeddings.path), locked(folders.index):
        publisher = begin_publishing(prepare.index_url, folders)
        collection = read_collection(embeddings)
        folded = read_folded(embeddings)
        count = loaded.config.search.shards_for(len(collection.keys))
        inputs = _digest(loaded, collection, count, folded)
        manifest = find_version(folders, inputs)
        if manifest is None:
            if loaded.config.search.shards is None:
                print(_choice(folders, count, len(collection.keys)), flush=True)
            embeddings.verify({int(chunk) for chunk in collection.places[:, 0]})
            version = next_version(folders)
            fields = fields_of_index(collection.records)
            shards = _write_shards(loaded, folders, version, collection, count, fields)
            manifest = _describe(
                loaded, folders, version, collection, shards, inputs, fields, folded
            )
            manifest = write_manifest(folders, manifest)
        keep, publish = prepare.keep_versions, None
        if publisher:
            publisher.upload(manifest)
            publish = publisher.publish
        roll_out(folders, manifest, loaded.config.search, keep, inside, publish)
        if publisher:
            publisher.sweep(keep)
        _drop_unused(embeddings, folders, collection)
        trim(loaded, folders)
        return manifest


def _drop_unused(embeddings: EmbeddingFolder, folders: Folders, collection: Collection) -> None:
    """Drop the chunks of this model that neither the collection nor a kept version is from."""
    used = chunks_of_versions(folders)
    if used is None:
        return
    used |= collection.all_chunks
    space = collection.entry.space
    entries = [entry for entry in embeddings.entries() if entry.space == space]
    if unused := [entry.chunk for entry in entries if entry.chunk not in used]:
        embeddings.drop(unused)
        embeddings.sweep()


def _choice(folders: Folders, shards: int, images: int) -> str:
    """What is told of a number of shards that prepare has chosen, in one line."""
    told = f"shards: {shards}, chosen for {images} images (Search.shards sets another number)"
    with suppress(BadIndex):  # there is no index yet
        before = len(manifest_in_use(folders).shards)
        if before != shards:
            told += f"; the index in use has {before} and answers until the new one is built"
    return told


def _digest(loaded: Loaded, collection: Collection, shard_count: int, folded: Folded) -> str:
    """Digest of everything that decides the files of a version.

    With an entry of the log that changed something there is a new version, though its files may be
    as before: search servers then need not hold the entry any more.
    """
    prepare = loaded.config.prepare
    settings = (
        FORMAT,
        prepare.index,
        shard_count,
        prepare.M,
        prepare.ef_construction,
        folded.log_id,
        folded.changed,
    )
    return hashlib.sha256(f"{settings} {collection.digest}".encode()).hexdigest()


def _write_shards(
    loaded: Loaded,
    folders: Folders,
    version: str,
    collection: Collection,
    count: int,
    fields: Fields,
) -> list[ShardFiles]:
    """Build `count` shards in parallel; the result is in shard order."""
    prepare = loaded.config.prepare
    cores = usable_cores()
    threads = max(1, cores // count)
    ef = ef_of_shard(loaded.config.search.ef_search, count)
    build = Build(prepare.index, prepare.M, prepare.ef_construction, threads, ef)

    def write(shard: int) -> ShardFiles:
        rows = collection.rows(collection.members(shard, count))
        return write_shard(folders, version, shard, rows, build, fields)

    with (
        ThreadPoolExecutor(min(cores, count)) as pool,
        Progress("indexing", len(collection.keys)) as progress,
    ):
        shards = []
        for files in pool.map(write, range(count)):
            progress.add(files.count)
            shards.append(files)
        return shards


def _describe(
    loaded: Loaded,
    folders: Folders,
    version: str,
    collection: Collection,
    shards: list[ShardFiles],
    inputs: str,
    fields: Fields,
    folded: Folded,
) -> Manifest:
    """The manifest of the written files, with the recall of the index."""
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
        sorted(collection.chunks),
        fields,
        log_id=folded.log_id,
        log_position=folded.position,
    )


def _measure(
    loaded: Loaded,
    folders: Folders,
    version: str,
    collection: Collection,
    shards: list[ShardFiles],
) -> Recall:
    """Recall of the written index for images drawn from it; memory holds one shard at a time."""
    ef_search = loaded.config.search.ef_search
    total = len(collection.keys)
    drawn = np.random.default_rng(0).choice(total, min(RECALL_QUERIES, total), replace=False)
    queries = collection.rows(drawn).vectors

    def pairs() -> Iterator[tuple[Segment, Matrix]]:
        for number, files in enumerate(shards):
            members = collection.members(number, len(shards))
            shard = load_shard(folders, version, collection.entry.dim, files, total)
            yield shard, collection.rows(members).vectors

    value = recall(queries, pairs(), RECALL_K, ef_of_shard(ef_search, len(shards)))
    return Recall(RECALL_K, len(queries), ef_search, round(value, 4))


def report(manifest: Manifest) -> None:
    """Print the version in use."""
    recalled = manifest.recall
    print(
        f"version {manifest.version}: {manifest.count} images in {len(manifest.shards)} shards, "
        f"recall@{recalled.k} {recalled.value} "
        f"(ef {recalled.ef_search}, {recalled.queries} queries)",
        flush=True,
    )


def main() -> None:
    """Build the next version from the embeddings that config.json names."""
    report(build(load(argument_parser(__doc__).parse_args().config)))


if __name__ == "__main__":
    run(main)
