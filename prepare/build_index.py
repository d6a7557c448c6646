"""Build an index version from the embeddings: python prepare/build_index.py."""

import hashlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.config import Loaded, load
from common.internal_auth import InternalAuth
from common.process import argument_parser, run
from inference.clip import images
from prepare.chunks import EmbeddingFolder
from prepare.collection import Collection, read_collection
from prepare.live_log import trim
from prepare.lock import locked
from prepare.members import Folded, read_folded
from prepare.parts import WHOLE_RUN, DoAll
from prepare.plans import open_plan, open_plans
from prepare.recall import recall
from prepare.regions import region_space
from prepare.rollout import roll_out
from prepare.shard_plans import ShardPlan, fields_of_plans, plan_shards
from prepare.shard_tasks import RECALL_K, RECALL_QUERIES, ShardBuilder, ShardResult, plan_version
from prepare.versions import (
    drop_unused,
    find_version,
    next_version,
    publisher_to,
    sweep_version,
    version_to_extend,
)
from search.index import ann_module
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
from search.segment_writing import write_tombstones


def build(loaded: Loaded, do_all: DoAll = WHOLE_RUN.do_all) -> Manifest:
    """Build the next version and put it in use, unless nothing has changed; raises ConfigError.

    `do_all` has the shards built. The call returns when the running search servers use the version.
    A server that refuses the version is also a ConfigError.
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
            version = next_version(folders)
            before = version_to_extend(folders, prepare, collection.entry, count)
            plans = plan_shards(folders, before, collection, count)
            fields = fields_of_plans(collection, plans)
            results = _build_shards(loaded, version, collection, plans, fields, do_all)
            shards = [
                ShardFiles(
                    result.segments, write_tombstones(folders, version, number, plan.tombstones)
                )
                for number, (result, plan) in enumerate(zip(results, plans, strict=True))
            ]
            recalled = _recall(loaded, len(collection.keys), results)
            manifest = _describe(
                *(loaded, version, collection, shards, inputs, fields, folded, recalled)
            )
            manifest = write_manifest(folders, manifest)
        sweep_version(folders, manifest)
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


def _build_shards(
    loaded: Loaded,
    version: str,
    collection: Collection,
    plans: Sequence[ShardPlan],
    fields: Fields,
    do_all: DoAll,
) -> list[ShardResult]:
    """Build what is new of each shard; the result is in shard order."""
    builder = ShardBuilder(loaded)
    folder = builder.folders.index / version
    plan = open_plan(folder, plan_version(loaded, version, collection, plans, fields))
    for other in open_plans(folder):
        if other.path != plan.path:  # of a killed run, before something changed
            other.close()
    do_all(plan, builder)
    return [plan.result(number, ShardResult) for number in range(len(plans))]


def _recall(loaded: Loaded, images: int, results: Sequence[ShardResult]) -> Recall:
    """The recall of the whole, from the shares of the shards."""
    queries = min(RECALL_QUERIES, images)
    value = recall([result.share for result in results], min(RECALL_K, images))
    return Recall(RECALL_K, queries, loaded.config.search.ef_search, round(value, 4))


def _describe(
    loaded: Loaded,
    version: str,
    collection: Collection,
    shards: list[ShardFiles],
    inputs: str,
    fields: Fields,
    folded: Folded,
    recalled: Recall,
) -> Manifest:
    """The manifest of the written files."""
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
        recalled,
        shards,
        sorted(collection.chunks),
        fields,
        log_id=folded.log_id,
        log_position=folded.position,
        regions=len(collection.regions),
    )


def report(manifest: Manifest) -> None:
    """Print the version in use."""
    recalled, shards = manifest.recall, len(manifest.shards)
    print(
        f"version {manifest.version}: {manifest.count} images"
        f" in {shards} {'shard' if shards == 1 else 'shards'}, "
        f"recall@{recalled.k} {recalled.value} "
        f"(ef {recalled.ef_search}, {recalled.queries} queries)",
        flush=True,
    )


def main() -> None:
    """Build the next version from the embeddings that config.json names."""
    report(build(load(argument_parser(__doc__).parse_args().config)))


if __name__ == "__main__":
    run(main)
