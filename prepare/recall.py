"""How much of what is truly nearest the index finds."""

from collections.abc import Iterable, Sequence

import numpy as np

from common.wire import Matrix
from search.index import Segment
from search.image_key import IMAGE_KEY
from search.messages import Hits

ROUNDING = 1e-5
"""float32 scores from two ways of adding differ by about this much."""


def recall(
    queries: Matrix, shards: Iterable[tuple[Segment, Matrix]], k: int, ef_search: int
) -> float:
    """The share of the true k best of each query that the shards find together.

    `shards` gives each shard with its vectors. A found image counts when its score reaches the
    true k-th best, so equal images are as good as each other. That score is the true one, from
    `vectors`: an index may keep rounded ones.
    """
    true: list[Matrix] = []
    found: list[Matrix] = []
    for shard, vectors in shards:
        true.append(_best(queries @ vectors.T, k))
        hits = shard.search(queries, [k] * len(queries), ef_search, 0)
        rows = [_rows(shard, one) for one in hits]
        found.append(_padded([vectors[r] @ q for r, q in zip(rows, queries, strict=True)], k))
    best = np.sort(np.concatenate(true, axis=1), axis=1)[:, -k:]
    got = np.sort(np.concatenate(found, axis=1), axis=1)[:, -best.shape[1] :]
    return float((got >= best[:, :1] - ROUNDING).mean())


def _rows(shard: Segment, hits: Hits) -> list[int]:
    ids = np.frombuffer(hits.keys, IMAGE_KEY)[["content", "location"]].tolist()
    return [row for one in ids if (row := shard.find(*one)) is not None]


def _best(scores: Matrix, k: int) -> Matrix:
    """The k highest of each row, in no order."""
    return scores if scores.shape[1] <= k else np.partition(scores, -k, axis=1)[:, -k:]


def _padded(scores: Sequence[Matrix], k: int) -> Matrix:
    rows = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for row, one in zip(rows, scores, strict=True):
        row[: len(one)] = one
    return rows
