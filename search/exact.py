"""The index of a small collection: every vector is compared with the query, so none is missed."""

import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.ann_index import Numbers

MAX_COUNT = 20_000
"""Images of a whole version. Among so many vectors of 512 numbers a query costs .28 ms of CPU in a
batch of 32 and 1.3 ms alone; hnswlib takes .15 and .06 ms. Among 5,000 vectors a batch
costs both about the same.
In exchange recall is 1, also where many images are copies of each other."""
BLOCK = 64
"""Queries that are compared at a time: their scores take 5 MB."""


class Exact:
    """Vectors in memory, an `ann_index.AnnIndex`."""

    def __init__(self, rows: Matrix) -> None:
        """`rows` are unit vectors, float32 [n, dim]."""
        self._rows = rows

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int
    ) -> tuple[NDArray[np.int64], Matrix]:
        """The k nearest; of equal scores the first row. `ef` and `threads` change nothing."""
        labels = np.empty((len(vectors), k), dtype=np.int64)
        scores = np.empty((len(vectors), k), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            all_scores = vectors[block] @ self._rows.T
            # Find the k best in any order, then sort these alone.
            best = np.argpartition(-all_scores, k - 1, axis=1)[:, :k]
            best.sort(axis=1)
            best_scores = np.take_along_axis(all_scores, best, axis=1)
            order = np.argsort(-best_scores, axis=1, kind="stable")
            labels[block] = np.take_along_axis(best, order, axis=1)
            scores[block] = np.take_along_axis(best_scores, order, axis=1)
        return labels, scores

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""
        return self._rows[rows]
