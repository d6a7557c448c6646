"""The recall of an index: the share of the true nearest images that it finds."""

from collections.abc import Iterable, Sequence

import numpy as np

from common.wire import Matrix
from search.image_key import IMAGE_KEY
from search.messages import Hits
from search.segment import Segment

ROUNDING = 1e-5
"""float32 scores differ by about this much when their terms are added in another order."""


def recall(
    queries: Matrix, shards: Iterable[tuple[Segment, Matrix]], k: int, ef_search: int
) -> float:
    """The share of the true k nearest of each query that all shards together find.

    `shards` gives each shard with its exact vectors, float32 [rows, dim]. A found image counts when
    its exact score reaches the true k-th best score: of two equal images, either will do. Scores
    from the index are not used, as its vectors may be rounded.
    """
    true: list[Matrix] = []
    found: list[Matrix] = []
    for shard, vectors in shards:
        true.append(_best(queries @ vectors.T, k))
        hits = shard.search(queries, [k] * len(queries), ef_search, 0)
        scores = [
            vectors[_rows(shard, query_hits)] @ query
            for query_hits, query in zip(hits, queries, strict=True)
        ]
        found.append(_padded(scores, k))
    best = np.sort(np.concatenate(true, axis=1), axis=1)[:, -k:]
    got = np.sort(np.concatenate(found, axis=1), axis=1)[:, -best.shape[1] :]
    return float((got >= best[:, :1] - ROUNDING).mean())


def _rows(shard: Segment, hits: Hits) -> list[int]:
    ids = np.frombuffer(hits.keys, IMAGE_KEY)[["content", "location"]].tolist()
    return [row for image_id in ids if (row := shard.find(*image_id)) is not None]


def _best(scores: Matrix, k: int) -> Matrix:
    """The k highest of each row, in no order."""
    return scores if scores.shape[1] <= k else np.partition(scores, -k, axis=1)[:, -k:]


def _padded(scores: Sequence[Matrix], k: int) -> Matrix:
    """The scores of each query as one row of [queries, k], filled up with -inf."""
    rows = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for row, query_scores in zip(rows, scores, strict=True):
        row[: len(query_scores)] = query_scores
    return rows
