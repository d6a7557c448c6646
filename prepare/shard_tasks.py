"""The tasks of a plan of an index version: each builds what is new of a shard.

It measures what the shard adds to the recall, too.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import numpy as np

from common.config import IndexKind, Loaded
from common.cores import usable_cores
from common.wire import Matrix, pack_rows, unpack_rows
from prepare.chunks import EmbeddingFolder, VectorsOf
from prepare.collection import Collection, Images
from prepare.plans import Plan, PlanFolder
from prepare.progress import Progress
from prepare.recall import Share, share_of
from prepare.shard_plans import ShardPlan
from search.ann_index import Build
from search.image_key import IMAGE_KEY
from search.index import ef_of_shard
from search.manifest import folders_of
from search.messages import Fields, Record
from search.regions import REGION
from search.segment_files import SegmentFiles
from search.segment_writing import write_segment
from search.shard import Shard
from search.shard_loading import load_segments

RECALL_K = 10
RECALL_QUERIES = 200


class VersionPlan(msgspec.Struct, frozen=True):
    """The head of a plan of a version: task i makes shard i. `shared` are queries for its recall.

    They are images of the collection, float32 [queries, dim].
    """

    version: str
    kind: IndexKind
    M: int
    ef_construction: int
    ef: int
    """Of a shard, for queries of its canaries and of the recall."""
    dim: int
    total: int
    """Vectors of the version, of whole images and of regions."""
    fields: Fields
    chunks: list[int]
    """The chunks of embeddings that the version is from; each task checks its share of them."""
    stamp: str
    """Of the files of the chunks: what was built before one was put right is built again."""
    sizes: list[int]
    """The images to build of each shard."""


class ShardTask(msgspec.Struct, frozen=True):
    """What a shard has to be; arrays are bytes, as they are in `prepare.collection.Images`."""

    kept: list[SegmentFiles]
    tombstones: bytes
    """Rows that are images no longer, uint32, counted through `kept`."""
    built: bytes | None
    """Which of its images are to be built, int64; None for no new segment."""
    keys: bytes
    records: list[Record]
    places: bytes
    regions: bytes
    region_places: bytes

    def images(self) -> Images:
        """All images of the shard."""
        return Images(
            np.frombuffer(self.keys, IMAGE_KEY),
            self.records,
            np.frombuffer(self.places, np.int32).reshape(-1, 2),
            np.frombuffer(self.regions, REGION),
            np.frombuffer(self.region_places, np.int32).reshape(-1, 2),
        )


class ShardResult(msgspec.Struct, frozen=True):
    """The segments of a shard, and its share of the recall: float32 [queries, RECALL_K] each."""

    segments: list[SegmentFiles]
    true: bytes
    found: bytes

    @property
    def share(self) -> Share:
        """The share of the recall."""
        return Share(unpack_rows(self.true, RECALL_K), unpack_rows(self.found, RECALL_K))


def plan_version(
    loaded: Loaded,
    version: str,
    collection: Collection,
    plans: Sequence[ShardPlan],
    fields: Fields,
) -> Plan:
    """Plan to build what is new of each shard."""
    prepare, total = loaded.config.prepare, len(collection.keys)
    embeddings = EmbeddingFolder(loaded.path(prepare.embedding_dir))
    drawn = np.random.default_rng(0).choice(total, min(RECALL_QUERIES, total), replace=False)
    head = VersionPlan(
        *(version, prepare.index, prepare.M, prepare.ef_construction),
        ef_of_shard(loaded.config.search.ef_search, len(plans)),
        collection.entry.dim,
        total + len(collection.regions),
        fields,
        sorted(collection.chunks),
        embeddings.stamp(sorted(collection.chunks)),
        [0 if plan.built is None else len(plan.built) for plan in plans],
    )
    queries = collection.rows(drawn).vectors
    tasks = (
        _task(collection, collection.members(number, len(plans)), plan)
        for number, plan in enumerate(plans)
    )
    return Plan(head, pack_rows(queries), map(msgspec.msgpack.encode, tasks))


def _task(collection: Collection, members: np.ndarray, plan: ShardPlan) -> ShardTask:
    images = collection.images.take(members)
    built = None if plan.built is None else np.searchsorted(members, plan.built)
    return ShardTask(
        plan.kept,
        plan.tombstones.tobytes(),
        None if built is None else built.astype("<i8").tobytes(),
        images.keys.tobytes(),
        list(images.records),
        images.places.tobytes(),
        images.regions.tobytes(),
        images.region_places.tobytes(),
    )


class ShardBuilder:
    """Does tasks of plans of versions."""

    def __init__(self, loaded: Loaded) -> None:
        prepare = loaded.config.prepare
        self.folders = folders_of(
            loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir
        )
        self._embeddings = EmbeddingFolder(loaded.path(prepare.embedding_dir))

    def work(self, plan: PlanFolder, numbers: Sequence[int]) -> None:
        """Build some shards of a plan, in parallel; raises BadIndex, ConfigError."""
        if not numbers:
            return
        head, cores = plan.head(VersionPlan), usable_cores()
        sizes = [head.sizes[number] for number in numbers]
        busy = max(1, sum(size > 0 for size in sizes))
        threads = max(1, cores // busy)
        build = Build(head.kind, head.M, head.ef_construction, threads, head.ef)
        queries = unpack_rows(plan.shared(), head.dim)
        vectors_of = self._embeddings.vectors_of(set(head.chunks))
        make = partial(self._make, plan, head, build, queries, vectors_of)
        with (
            ThreadPoolExecutor(min(cores, busy)) as pool,
            Progress("indexing", sum(sizes)) as progress,
        ):
            shares = [head.chunks[number :: len(head.sizes)] for number in numbers]
            list(pool.map(self._embeddings.verify, shares))
            for size, _ in zip(sizes, pool.map(make, numbers), strict=True):
                progress.add(size)

    def _make(
        self,
        plan: PlanFolder,
        head: VersionPlan,
        build: Build,
        queries: Matrix,
        vectors_of: VectorsOf,
        number: int,
    ) -> None:
        """Write the files of a shard, then its result."""
        if plan.is_done(number):  # by another process with the same part
            return
        task = plan.task(number, ShardTask)
        images, segments = task.images(), list(task.kept)
        rows = images.rows(vectors_of, head.dim)
        if task.built is not None:
            built = np.frombuffer(task.built, "<i8")
            is_all = len(built) == len(images.keys)
            new = rows if is_all else images.take(built).rows(vectors_of, head.dim)
            segments.append(
                write_segment(self.folders, head.version, number, new, build, head.fields)
            )
        tombstones = np.frombuffer(task.tombstones, np.uint32).astype(np.int64)
        size = head.dim, head.total
        loaded = list(load_segments(self.folders, segments, tombstones, size, {}).values())
        for segment in loaded:
            segment.put_in_use()
        share = share_of(queries, Shard(loaded), rows, RECALL_K, head.ef)
        result = ShardResult(segments, pack_rows(share.true), pack_rows(share.found))
        plan.put_result(number, result)
