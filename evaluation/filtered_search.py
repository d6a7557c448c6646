"""What a filter costs and finds: queries a CPU second and recall@10 by the share that passes.

One shard of clustered vectors, as benchmarks use, on one thread. `random`: any images pass.
`topic`: those nearest to one of them pass, while queries are from everywhere. Prints Markdown.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/
os.environ["OMP_NUM_THREADS"] = "1"  # as services have it; before numpy is loaded

import numpy as np
from numpy.typing import NDArray

from common.config import CHECKOUT, IndexKind
from common.wire import Matrix
from devtools.vectors import make_vectors
from devtools.words import all_queries
from inference.clip.model import load_model
from search.ann_index import Build
from search.fields import fields_of_index
from search.filter import Filter
from search.image_key import IMAGE_KEY
from search.index import load_segment
from search.manifest import Folders
from search.messages import Record
from search.segment import Segment
from search.segment_writing import SegmentRows, write_segment

QUERIES = 512
K = 10
EF = 64
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001)
SECONDS = 1.5
"""Of CPU, for each figure."""


def make_shard(
    folder: Path, vectors: Matrix, ranks: dict[str, list[int]], kind: IndexKind
) -> Segment:
    """A shard whose images have the fields `random` and `topic`: their rank in each order."""
    folders = Folders(folder / "index", folder / "paths", folder / "hashes")
    for path in folders.all():
        (path / "v000001").mkdir(parents=True)
    keys = np.zeros(len(vectors), dtype=IMAGE_KEY)
    keys["content"] = np.arange(len(vectors))
    records = [
        Record(f"{row}.jpg", {name: rank[row] for name, rank in ranks.items()})
        for row in range(len(vectors))
    ]
    build = Build(kind, 16, 100, 0, EF)
    rows, fields = SegmentRows(vectors, keys, records), fields_of_index(records)
    files = write_segment(folders, "v000001", 0, rows, build, fields)
    return load_segment(folders, vectors.shape[1], files, 10**9)


def measure(
    shard: Segment,
    vectors: Matrix,
    queries: Matrix,
    batch: int,
    passing: NDArray[np.intp],
    test: Filter | None,
) -> tuple[float, float]:
    """Queries a CPU second, and recall@10 among the rows that pass."""
    k = min(K, len(passing))
    scores = queries @ vectors[passing].T
    wanted = passing[np.argpartition(-scores, k - 1, axis=1)[:, :k]]
    found: list[set[int]] = []
    for start in range(0, len(queries), batch):
        asked = queries[start : start + batch]
        hits = shard.search(asked, [K] * len(asked), EF, 1, test)
        found += [set(np.frombuffer(one.keys, IMAGE_KEY)["content"].tolist()) for one in hits]
    recall = np.mean([len(a & set(b)) / k for a, b in zip(found, wanted.tolist(), strict=True)])
    count, started = 0, time.process_time()
    while time.process_time() - started < SECONDS:
        at = count % (len(queries) - batch)
        shard.search(queries[at : at + batch], [K] * batch, EF, 1, test)
        count += batch
    return count / (time.process_time() - started), float(recall)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=32, help="queries of one filter at a time")
    parser.add_argument("--kind", choices=get_args(IndexKind), default="hnsw")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    model = load_model("starter", root=CHECKOUT)
    vectors = make_vectors(model, all_queries(), arguments.images + QUERIES)
    vectors, queries = vectors[:-QUERIES], vectors[-QUERIES:]
    near = np.argsort(-(vectors @ vectors[0]))
    orders = {"random": random.permutation(arguments.images), "topic": near}
    ranks = {name: np.argsort(order).tolist() for name, order in orders.items()}
    with tempfile.TemporaryDirectory() as folder:
        shard = make_shard(Path(folder), vectors, ranks, arguments.kind)
        rows = np.arange(arguments.images)
        rate, recall = measure(shard, vectors, queries, arguments.batch, rows, None)
        print(f"no filter: {rate:,.0f} queries a CPU second, recall@10 {recall:.3f}\n")
        print("| passes | random: queries a CPU second | recall@10 | topic | recall@10 |")
        print("|---|---:|---:|---:|---:|", flush=True)
        for share in SHARES:
            count = max(1, round(share * arguments.images))
            cells = []
            for name, order in orders.items():
                test = Filter(field=name, lt=count)
                rate, recall = measure(
                    shard, vectors, queries, arguments.batch, order[:count], test
                )
                cells.append(f"{rate:,.0f} | {recall:.3f}")
            print(f"| {share:.2%} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
