"""Exact search: every vector is compared with the query, so none is missed."""

import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.ann_index import AnnIndex, Mask, Numbers

MAX_COUNT = 20_000
"""Images of a whole version. Among so many vectors of 512 numbers a query costs .28 ms of CPU in a
batch of 32 and 1.3 ms alone; hnswlib takes .15 and .06 ms. Among 5,000 vectors a batch
costs both about the same. In exchange recall is 1."""
BLOCK = 64
"""Queries that are compared at a time: their scores take 5 MB."""
ROWS = 2**15
"""Rows whose scores are compared at a time."""
GATHERED = 128
"""Rows whose vectors are gathered at a time: 256 KiB at 512 dimensions, which a core's cache holds
until they are compared. One query among 5,000 rows takes half the time of gathering all at once."""


class Exact:
    """Vectors in memory, an `ann_index.AnnIndex`."""

    def __init__(self, rows: Matrix) -> None:
        """`rows` are unit vectors, float32 [n, dim]."""
        self._rows = rows

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None = None
    ) -> tuple[NDArray[np.int64], Matrix]:
        """The k nearest; of equal scores the first row. `ef` and `threads` change nothing."""
        labels = np.empty((len(vectors), k), dtype=np.int64)
        scores = np.empty((len(vectors), k), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            all_scores = vectors[block] @ self._rows.T
            if mask is not None:
                all_scores[:, ~mask] = -np.inf
            labels[block], scores[block] = _best(all_scores, k)
        return labels, scores

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""
        return self._rows[rows]


def nearest_of(
    index: AnnIndex, rows: Numbers, vectors: Matrix, k: int
) -> tuple[NDArray[np.int64], Matrix]:
    """The k nearest among some rows of an index, by their vectors; 0 < k <= rows."""
    labels = np.empty((len(vectors), 0), dtype=np.int64)
    scores = np.empty((len(vectors), 0), dtype=np.float32)
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        compared = np.empty((len(vectors), len(block)), dtype=np.float32)
        for at in range(0, len(block), GATHERED):
            part = slice(at, at + GATHERED)
            np.matmul(vectors, index.vectors(block[part]).T, out=compared[:, part])
        best, best_scores = _best(compared, min(k, len(block)))
        labels, scores = np.hstack([labels, block[best]]), np.hstack([scores, best_scores])
    if len(rows) <= ROWS:
        return labels, scores
    best, scores = _best(scores, k)
    return np.take_along_axis(labels, best, axis=1), scores


def _best(scores: Matrix, k: int) -> tuple[NDArray[np.int64], Matrix]:
    """The places of the k best scores of each query, best first, and these scores."""
    # Find the k best in any order, then sort these alone.
    best = np.argpartition(scores, -k, axis=1)[:, -k:]
    best.sort(axis=1)
    best_scores = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-best_scores, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(best_scores, order, axis=1)
