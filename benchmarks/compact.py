"""The compact index beside hnswlib's: python benchmarks/compact.py."""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks.figures import Figure, median_figure, ratio, table
from devtools.vectors import NOISE, clustered, unit
from common.config import IndexKind, Prepare
from common.wire import Matrix
from prepare.recall import recall
from search.ann_index import Build
from search.index import SegmentRows, Segment, load_shard, write_shard
from search.image_key import IMAGE_KEY
from search.manifest import Folders, ShardFiles
from search.messages import Record

DIM = 512
TOPICS = 1000
EF_SEARCH = 64
"""The default."""
K = 10
QUERIES = 500
BATCH = 32
THREADS = 2
ROUNDS = 5
VERSION = "v000001"
KINDS: tuple[IndexKind, ...] = get_args(IndexKind)


def measure(count: int = 100_000) -> list[Figure]:
    """Memory for a vector, recall and rate of each kind of index; raises MissingPackage."""
    random = np.random.default_rng(2)
    topics = unit(random.standard_normal((TOPICS, DIM), dtype=np.float32))
    vectors = clustered(topics, count)
    queries = vectors[random.choice(count, QUERIES)]
    queries = unit(queries + NOISE * unit(random.standard_normal(queries.shape, dtype=np.float32)))
    figures: list[Figure] = []
    shards: dict[str, Segment] = {}
    with tempfile.TemporaryDirectory() as root:
        for kind in KINDS:
            folders = _folders(Path(root) / kind)
            started = time.perf_counter()
            files = _write(folders, vectors, kind)
            built_s = time.perf_counter() - started
            resident = _in_a_child(folders, files) / count
            shards[kind] = load_shard(folders, VERSION, DIM, files, 1_000_000)
            found = recall(queries, [(shards[kind], vectors)], K, EF_SEARCH)
            figures += _of_kind(kind, resident, found, built_s)
        runs = _rates(shards, queries)
    figures += [median_figure("index", f"{kind} rate", runs[kind], "queries/s") for kind in KINDS]
    return [*figures, _compared(runs)]


def _of_kind(kind: str, resident: float, found: float, built_s: float) -> list[Figure]:
    is_compact = kind == "compact"
    return [
        Figure(
            "index", f"{kind} memory", resident, "bytes/vector", at_most=700 if is_compact else None
        ),
        Figure(
            "index",
            f"{kind} recall@{K}",
            found,
            "",
            at_least=0.98 if is_compact else None,
            note=f"ef {EF_SEARCH}",
        ),
        Figure("index", f"{kind} build", built_s, "s"),
    ]


def _compared(runs: dict[str, list[float]]) -> Figure:
    return median_figure("index", "compact rate", ratio(runs, "compact", "hnsw"), "of hnsw")


def _folders(root: Path) -> Folders:
    folders = Folders(root / "index", root / "paths", root / "hashes")
    for folder in folders.all():
        (folder / VERSION).mkdir(parents=True)
    return folders


def _write(folders: Folders, vectors: Matrix, kind: IndexKind) -> ShardFiles:
    """A shard of images without pixels."""
    keys = np.zeros(len(vectors), dtype=IMAGE_KEY)
    keys["content"] = np.arange(len(vectors))
    records = [Record(f"images/{number:08}.jpg") for number in range(len(vectors))]
    build = Build(kind, Prepare().M, Prepare().ef_construction, THREADS, EF_SEARCH)
    return write_shard(folders, VERSION, 0, SegmentRows(vectors, keys, records), build)


def _in_a_child(folders: Folders, files: ShardFiles) -> int:
    """The memory that loading a shard takes in a process that has loaded nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_resident, (folders, files))


def _resident(folders: Folders, files: ShardFiles) -> int:
    """Bytes that stay resident, but for pages of files, which the system may take back."""
    warm = _folders(folders.index.parent / "warm")  # what a library takes for itself is no vector's
    few = _write(warm, clustered(np.eye(DIM, dtype=np.float32), 100), files.kind)
    load_shard(warm, VERSION, DIM, few, 1_000_000)
    before = _anonymous()
    shard = load_shard(folders, VERSION, DIM, files, 1_000_000)
    shard.search(unit(np.ones((1, DIM), dtype=np.float32)), [K], EF_SEARCH, THREADS)
    return _anonymous() - before


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def _rates(shards: dict[str, Segment], queries: Matrix) -> dict[str, list[float]]:
    """Queries a second in batches; the kinds take turns, and the first round only warms up."""
    runs: dict[str, list[float]] = {kind: [] for kind in shards}
    batches = [queries[i : i + BATCH] for i in range(0, len(queries), BATCH)]
    for _ in range(ROUNDS + 1):
        for kind, shard in shards.items():
            started = time.perf_counter()
            for batch in batches:
                shard.search(batch, [K] * len(batch), EF_SEARCH, THREADS)
            runs[kind].append(len(queries) / (time.perf_counter() - started))
    return {kind: rounds[1:] for kind, rounds in runs.items()}


if __name__ == "__main__":
    print(table(measure()))
