"""Build an index version from the embeddings: python prepare/build_index.py."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from msgspec.structs import replace

from common.config import Loaded, load
from common.cores import usable_cores
from common.internal_auth import InternalAuth
from common.process import argument_parser, run
from inference.clip import images
from prepare.chunks import EmbeddingFolder
from prepare.collection import Collection, read_collection
from prepare.rollout import roll_out
from prepare.live_log import trim
from prepare.lock import locked
from prepare.members import Folded, read_folded
from prepare.progress import Progress
from prepare.recall import recall
from prepare.regions import region_space
from prepare.shard_plans import ShardPlan, fields_of_plans, plan_shards
from prepare.versions import (
    drop_unused,
    find_version,
    next_version,
    publisher_to,
    version_to_extend,
)
from search.ann_index import Build
from search.index import ann_module, ef_of_shard
from search.manifest import (
    DISTANCE,
    FORMAT,
    BadIndex,
    Folders,
    Manifest,
    Recall,
    folders_of,
    manifest_in_use,
    write_manifest,
)
from search.messages import Fields
from search.segment_files import ShardFiles
from search.segment_writing import SegmentRows, write_segment, write_tombstones
from search.shard import Shard
from search.shard_loading import load_shard

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
        publisher = publisher_to(prepare.index_url, folders)
        collection = read_collection(embeddings, prepare.regions)
        folded = read_folded(embeddings)
        count = loaded.config.search.shards_for(len(collection.keys))
        inputs = _digest(loaded, collection, count, folded)
        manifest = find_version(folders, inputs)
        if manifest is None:
            if loaded.config.search.shards is None:
                print(_choice(folders, count, len(collection.keys)), flush=True)
            embeddings.verify(collection.chunks)
            version = next_version(folders)
            before = version_to_extend(folders, prepare, collection.entry, count)
            plans = plan_shards(folders, before, collection, count)
            fields = fields_of_plans(collection, plans)
            shards = _write_shards(loaded, folders, version, collection, plans, fields)
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
        space = collection.entry.space
        spaces = {space, region_space(space, prepare.regions)}  # other regions may be wanted again
        drop_unused(embeddings, folders, collection.all_chunks, spaces)
        trim(loaded, folders)
        return manifest


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
    plans: Sequence[ShardPlan],
    fields: Fields,
) -> list[ShardFiles]:
    """Build what is new of each shard, in parallel; the result is in shard order."""
    prepare = loaded.config.prepare
    cores = usable_cores()
    built = [len(plan.built) for plan in plans if plan.built is not None]
    busy = max(1, len(built))
    ef = ef_of_shard(loaded.config.search.ef_search, len(plans))
    build = Build(prepare.index, prepare.M, prepare.ef_construction, max(1, cores // busy), ef)
    progress = Progress("indexing", sum(built))

    def write(shard: int) -> ShardFiles:
        plan, segments = plans[shard], [*plans[shard].kept]
        if plan.built is not None:
            rows = collection.rows(plan.built)
            segments.append(write_segment(folders, version, shard, rows, build, fields))
        return ShardFiles(segments, write_tombstones(folders, version, shard, plan.tombstones))

    with ThreadPoolExecutor(min(cores, busy)) as pool, progress:
        shards = []
        for plan, files in zip(plans, pool.map(write, range(len(plans))), strict=True):
            if plan.built is not None:
                progress.add(len(plan.built))
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
    manifest = Manifest(
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
        Recall(RECALL_K, 0, loaded.config.search.ef_search, 0.0),
        shards,
        sorted(collection.chunks),
        fields,
        log_id=folded.log_id,
        log_position=folded.position,
        regions=len(collection.regions),
    )
    return replace(manifest, recall=_measure(folders, manifest, collection))


def _measure(folders: Folders, manifest: Manifest, collection: Collection) -> Recall:
    """Recall of the written index for images drawn from it; memory holds one shard at a time."""
    total, shards = manifest.count, len(manifest.shards)
    drawn = np.random.default_rng(0).choice(total, min(RECALL_QUERIES, total), replace=False)
    queries = collection.rows(drawn).vectors

    def pairs() -> Iterator[tuple[Shard, SegmentRows]]:
        for number in range(shards):
            segments = load_shard(folders, manifest, number, {}).values()
            for segment in segments:
                segment.put_in_use()
            yield Shard(list(segments)), collection.rows(collection.members(number, shards))

    ef_search = manifest.recall.ef_search
    value = recall(queries, pairs(), RECALL_K, ef_of_shard(ef_search, shards))
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
