"""What a filter costs and finds: queries a CPU second and recall@10 by the share that passes.

Clustered vectors, as benchmarks use, on one thread. `random`: any images pass.
`topic`: those nearest to one of them pass, while queries are from everywhere. Prints Markdown.
"""

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, get_args

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/
os.environ["OMP_NUM_THREADS"] = "1"  # as services have it; before numpy is loaded

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
from search.segment_writing import SegmentRows, write_segment

QUERIES = 512
K = 10
M, EF_CONSTRUCTION, EF = 16, 100, 64
EFS = (EF, 2 * EF, 4 * EF)
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001)
SECONDS = 1.5
"""Of CPU, for each figure."""


class OurShards:
    """Segments, as many as prepare makes shards; images have the fields `random` and `topic`.

    They are an image's rank in each order.
    """

    def __init__(
        self, folder: Path, vectors: Matrix, ranks: dict[str, list[int]], kind: IndexKind
    ) -> None:
        """Build and load them."""
        folders = Folders(folder / "index", folder / "paths", folder / "hashes")
        for path in folders.all():
            (path / "v000001").mkdir(parents=True)
        count, dim = vectors.shape
        build, self._segments = Build(kind, M, EF_CONSTRUCTION, 0, EF), []
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
            files = write_segment(folders, "v000001", shard, rows, build, fields)
            self._segments.append(load_segment(folders, dim, files, 10**9))

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


def measure(
    shard: OurShards | QdrantShard,
    vectors: Matrix,
    queries: Matrix,
    batch: int,
    passing: NDArray[np.intp],
    below: tuple[str, int] | None = None,
    ef: int = EF,
) -> str:
    """Queries a CPU second, and recall@10 among the rows that pass, as two cells of a table."""
    k = min(K, len(passing))
    scores = queries @ vectors[passing].T
    wanted = passing[np.argpartition(-scores, k - 1, axis=1)[:, :k]]
    found: list[set[int]] = []
    for start in range(0, len(queries), batch):
        hits = shard.search(queries[start : start + batch], K, ef, below)
        found += [shard.rows(one) for one in hits]
    recall = np.mean([len(a & set(b)) / k for a, b in zip(found, wanted.tolist(), strict=True)])
    count, started = 0, time.process_time()
    while time.process_time() - started < SECONDS:
        at = count % (len(queries) - batch)
        shard.search(queries[at : at + batch], K, ef, below)
        count += batch
    return f"{count / (time.process_time() - started):,.0f} | {recall:.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[32, 1], help="queries of one filter at a time"
    )
    parser.add_argument("--kind", choices=get_args(IndexKind), default="hnsw")
    parser.add_argument("--beside-qdrant", action="store_true", help="needs qdrant-edge-py")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    model = load_model("starter", root=CHECKOUT)
    vectors = make_vectors(model, all_queries(), arguments.images + QUERIES)
    vectors, queries = vectors[:-QUERIES], vectors[-QUERIES:]
    near = np.argsort(-(vectors @ vectors[0]))
    orders = {"random": random.permutation(arguments.images), "topic": near}
    ranks = {name: np.argsort(order).tolist() for name, order in orders.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.process_time()
        shards: dict[str, OurShards | QdrantShard] = {
            "": OurShards(folder, vectors, ranks, arguments.kind)
        }
        print(f"built in {time.process_time() - began:.0f} CPU s", flush=True)
        began = time.process_time()
        if arguments.beside_qdrant:
            qdrant = QdrantShard(folder / "qdrant", vectors, ranks, M, EF_CONSTRUCTION)
            shards[", Qdrant Edge"] = qdrant
            print(f"Qdrant Edge: built in {time.process_time() - began:.0f} CPU s", flush=True)
        columns = [f"{order}{of}" for order in orders for of in shards]
        for batch in arguments.batch:
            head = f"passes, {batch} at a time"
            print(f"\n| {head} | {' | recall@10 | '.join(columns)} | recall@10 |")
            print(f"|---|{'---:|' * 2 * len(columns)}", flush=True)
            of_all = partial(measure, vectors=vectors, queries=queries, batch=batch)
            rows = np.arange(arguments.images)
            for ef in EFS:
                cells = [of_all(shard, passing=rows, ef=ef) for shard in shards.values()]
                print(f"| no filter, ef {ef} | {' | '.join(cells * len(orders))} |", flush=True)
            for share in SHARES:
                count = max(1, round(share * arguments.images))
                cells = [
                    of_all(shard, passing=order[:count], below=(field, count))
                    for field, order in orders.items()
                    for shard in shards.values()
                ]
                print(f"| {share:.2%} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
