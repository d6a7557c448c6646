"""The regions of images in a segment: vectors of parts of images, beside those of the whole images.

An index of `rows` images has the vectors of the whole images first, a vector a row, and then those
of regions. A search finds vectors; of each image only the best one counts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.ann_index import Mask, Numbers
from search.manifest import BadIndex

REGION = np.dtype([("row", "<u4"), ("box", "<f4", 4)])
"""A region in a file: the row of its image, and x0, y0, x1, y1 in parts of the upright image."""
Labels = NDArray[np.integer]
Nearest = tuple[Labels, Matrix]
"""Vectors and cosines of each query, best first, both [queries, k]."""


class RegionRows(NamedTuple):
    """The regions of some images, sorted by row: vectors float32 [n, dim], and REGION [n]."""

    vectors: Matrix
    places: NDArray[np.void]


NO_REGIONS = RegionRows(np.empty((0, 0), np.float32), np.empty(0, REGION))


class Regions:
    """Which vectors of an index are regions, and of which rows."""

    def __init__(self, rows: int, places: NDArray[np.void]) -> None:
        """`places` are REGION, sorted by row; a region's vector is number `rows` + its place."""
        self._rows = rows
        self.total = rows + len(places)
        """All vectors."""
        self.most = 1 + int(np.bincount(places["row"]).max(initial=0))
        """Vectors of an image, at most."""
        self._owners = np.ascontiguousarray(places["row"])
        self._row_of = np.concatenate([np.arange(rows, dtype=np.uint32), self._owners])
        self._boxes = np.concatenate([np.zeros((rows, 4), "<f4"), places["box"]])

    def rows(self, labels: Labels) -> NDArray[np.uint32]:
        """The row of each vector."""
        found: NDArray[np.uint32] = self._row_of[labels]
        return found

    def boxes(self, labels: Labels) -> bytes:
        """The regions of vectors, float32 [n, 4]; zeros for a whole image."""
        found: Matrix = self._boxes[labels]
        return found.tobytes()

    def labels(self, rows: Numbers) -> Numbers:
        """All vectors of some rows."""
        spans = zip(
            np.searchsorted(self._owners, rows).tolist(),
            np.searchsorted(self._owners, rows, "right").tolist(),
            strict=True,
        )
        parts = [np.arange(self._rows + start, self._rows + end) for start, end in spans]
        return np.concatenate([rows, *parts])

    def spread(self, mask: Mask) -> Mask:
        """The vectors of the rows in a mask, as a mask."""
        found: Mask = mask[self._row_of]
        return found

    def best_of_each(self, find: Callable[[int], Nearest], k: int, total: int) -> Nearest:
        """The k nearest vectors that are of different rows; fewer, if `find` gives fewer rows.

        `find` gives as many of the nearest vectors as it is asked for; there are `total` in all.
        """
        most = min(self.most * k, total)  # among so many there are k rows
        wanted = min(2 * k, most)
        while True:
            labels, scores = find(wanted)
            is_best = np.array([_is_first(found) for found in self._row_of[labels]])
            rows = int(is_best.sum(axis=1).min())
            if rows >= k or wanted == most:
                order = np.argsort(~is_best, axis=1, kind="stable")[:, : min(k, rows)]
                best = np.take_along_axis(labels, order, axis=1)
                return best, np.take_along_axis(scores, order, axis=1)
            wanted = min(2 * wanted, most)


def boxes_by_row(places: NDArray[np.void]) -> dict[int, bytes]:
    """The boxes of each row that has regions; `places` are REGION, sorted by row."""
    rows, starts = np.unique(places["row"], return_index=True)
    parts = np.split(places["box"], starts[1:])
    return {row: part.tobytes() for row, part in zip(rows.tolist(), parts, strict=False)}


def _is_first(rows: NDArray[np.uint32]) -> Mask:
    """Whether each row comes for the first time."""
    is_first = np.zeros(len(rows), np.bool_)
    is_first[np.unique(rows, return_index=True)[1]] = True
    return is_first


def read_regions(path: Path, rows: int) -> Regions:
    """Read the regions of a segment of `rows` images; raises OSError, BadIndex."""
    places = np.fromfile(path, REGION)
    owners = places["row"].astype(np.int64)
    if owners.max(initial=0) >= rows or (np.diff(owners) < 0).any():
        raise BadIndex(f"{path}: of another shard")
    return Regions(rows, places)
