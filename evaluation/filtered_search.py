"""What a filter costs and finds: queries a CPU second and recall@10 by the share that passes.

Clustered vectors, as benchmarks use, on one thread. `random`: any images pass.
`topic`: those nearest to one of them pass, while queries are from everywhere. Prints Markdown.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/
os.environ["OMP_NUM_THREADS"] = "1"  # as services have it; before numpy is loaded

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.config import CHECKOUT, IndexKind, Search
from common.wire import Matrix
from devtools.vectors import make_vectors
from devtools.words import all_queries
from evaluation.qdrant_shard import QdrantShard
from inference.clip.model import load_model
from middle.merge import hits_per_shard
from search.ann_index import Build
from search.fields import fields_of_index
from search.filter import Filter
from search.image_key import IMAGE_KEY
from search.index import ef_of_shard, load_segment
from search.manifest import Folders
from search.messages import Record
from search.ranking import best_of_all
from search.segment_files import SegmentFiles
from search.segment_writing import SegmentRows, write_segment

QUERIES = 512
K = 10
M, EF_CONSTRUCTION, EF = 16, 100, 64
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001)
SECONDS = 1.0
"""Of CPU, for each figure."""


BLOCK = 32
"""Queries whose true nearest are found at a time: their scores and places take 12 bytes a row."""


class Column(NamedTuple):
    """What is measured in a column of the tables: shards, and the ef that they are asked with."""

    shards: "OurShards | QdrantShard"
    ef: int


class OurShards:
    """Segments, as many as prepare makes shards; images have the fields `random` and `topic`.

    They are an image's rank in each order.
    """

    def __init__(
        self, root: Path, vectors: Matrix, ranks: dict[str, list[int]], kind: IndexKind
    ) -> None:
        """Load those of this kind and number of vectors, built first if they are not all there."""
        folder = root / f"{kind}-{len(vectors)}"
        folders = Folders(folder / "index", folder / "paths", folder / "hashes")
        listed = folder / "segments.json"
        if not listed.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
            built = list(
                self._build(folders, vectors, ranks, Build(kind, M, EF_CONSTRUCTION, 0, EF))
            )
            listed.write_bytes(msgspec.json.encode(built))
        names = msgspec.json.decode(listed.read_bytes(), type=list[SegmentFiles])
        self._segments = [load_segment(folders, vectors.shape[1], files, 10**9) for files in names]

    @staticmethod
    def _build(
        folders: Folders, vectors: Matrix, ranks: dict[str, list[int]], build: Build
    ) -> Iterator[SegmentFiles]:
        for path in folders.all():
            (path / "v000001").mkdir(parents=True)
        count = len(vectors)
        for shard, chosen in enumerate(
            np.array_split(np.arange(count), Search().shards_for(count))
        ):
            keys = np.zeros(len(chosen), dtype=IMAGE_KEY)
            keys["content"] = chosen
            records = [
                Record(f"{row}.jpg", {name: rank[row] for name, rank in ranks.items()})
                for row in chosen.tolist()
            ]
            rows, fields = SegmentRows(vectors[chosen], keys, records), fields_of_index(records)
            yield write_segment(folders, "v000001", shard, rows, build, fields)

    def search(self, queries: Matrix, k: int, ef: int, below: tuple[str, int] | None) -> list[Any]:
        """The k best images of each query, of those whose field is below a number, by shard."""
        test, shards = Filter(field=below[0], lt=below[1]) if below else None, len(self._segments)
        ks, ef = [hits_per_shard(k, shards)] * len(queries), ef_of_shard(ef, shards)
        found = [segment.rank(queries, ks, ef, 1, test) for segment in self._segments]
        return list(zip(*best_of_all(found, [k] * len(queries)), strict=True))

    @staticmethod
    def rows(hits: Any) -> set[int]:
        """The rows of a query's best hits."""
        scores = np.concatenate([np.frombuffer(found.scores, "<f4") for found in hits])
        keys = np.concatenate([np.frombuffer(found.keys, IMAGE_KEY) for found in hits])
        return set(keys["content"][np.argsort(-scores)[:K]].tolist())


def nearest(vectors: Matrix, queries: Matrix, passing: NDArray[np.intp]) -> list[list[int]]:
    """The K nearest of each query among the rows that pass, by brute force."""
    k, among = min(K, len(passing)), vectors[passing].T
    wanted: list[list[int]] = []
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ among
        wanted += passing[np.argpartition(scores, -k, axis=1)[:, -k:]].tolist()
    return wanted


def measure(
    column: Column,
    queries: Matrix,
    batch: int,
    wanted: list[list[int]],
    below: tuple[str, int] | None = None,
) -> str:
    """Queries a CPU second, and recall@10 beside the rows that are wanted: a cell of a table."""
    shard, ef = column
    found: list[set[int]] = []
    for start in range(0, len(queries), batch):
        hits = shard.search(queries[start : start + batch], K, ef, below)
        found += [shard.rows(one) for one in hits]
    pairs = zip(found, map(set, wanted), strict=True)
    recall = np.mean([len(got & best) / len(best) for got, best in pairs])
    count, started = 0, time.process_time()
    while time.process_time() - started < SECONDS:
        at = count % (len(queries) - batch + 1)
        shard.search(queries[at : at + batch], K, ef, below)
        count += batch
    return f"{count / (time.process_time() - started):,.0f} ({recall:.3f})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[32, 1], help="queries of one filter at a time"
    )
    parser.add_argument("--kind", choices=get_args(IndexKind), default="hnsw")
    parser.add_argument("--ef", type=int, nargs="+", default=[EF], help="of ours")
    parser.add_argument("--beside-qdrant", action="store_true", help="needs qdrant-edge-py")
    parser.add_argument("--keep", type=Path, help="a folder for what is built, or was built before")
    arguments = parser.parse_args()
    if not 0 < min(arguments.batch) <= max(arguments.batch) <= QUERIES:
        parser.error(f"--batch: from 1 to {QUERIES}")
    random = np.random.default_rng(1)
    model = load_model("starter", root=CHECKOUT)
    vectors = make_vectors(model, all_queries(), arguments.images + QUERIES)
    vectors, queries = vectors[:-QUERIES], vectors[-QUERIES:]
    near = np.argsort(-(vectors @ vectors[0]))
    orders = {"random": random.permutation(arguments.images), "topic": near}
    ranks = {name: np.argsort(order).tolist() for name, order in orders.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        began = time.process_time()
        ours = OurShards(folder, vectors, ranks, arguments.kind)
        columns = {f"ours, ef {ef}": Column(ours, ef) for ef in arguments.ef}
        print(f"ours: {time.process_time() - began:.0f} CPU s to build, or load", flush=True)
        began = time.process_time()
        if arguments.beside_qdrant:
            place = folder / f"qdrant-{arguments.images}"
            qdrant = QdrantShard(place, vectors, ranks, M, EF_CONSTRUCTION)
            columns[f"Qdrant Edge, ef {EF}"] = Column(qdrant, EF)
            print(f"Qdrant Edge: {time.process_time() - began:.0f} CPU s", flush=True)
        print_tables(columns, vectors, queries, orders, arguments.batch)


def print_tables(
    columns: Mapping[str, Column],
    vectors: Matrix,
    queries: Matrix,
    orders: Mapping[str, NDArray[np.intp]],
    batches: Sequence[int],
) -> None:
    """Print a table for each number of queries at a time."""
    truth = partial(nearest, vectors, queries)
    of_all = truth(np.arange(len(vectors)))
    counts = [max(1, round(share * len(vectors))) for share in SHARES]
    wanted = {(field, n): truth(order[:n]) for field, order in orders.items() for n in counts}
    for batch in batches:
        names = [f"{order}, {name}" for order in orders for name in columns]
        print(f"\n| passes, {batch} at a time | {' | '.join(names)} |")
        print(f"|---|{'---:|' * len(names)}", flush=True)
        cells = [measure(column, queries, batch, of_all) for column in columns.values()]
        print(f"| no filter | {' | '.join(cells)} |{' |' * len(cells)}", flush=True)
        for share, count in zip(SHARES, counts, strict=True):
            cells = [
                measure(column, queries, batch, wanted[field, count], (field, count))
                for field in orders
                for column in columns.values()
            ]
            print(f"| {share:.2%} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
