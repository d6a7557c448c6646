"""A segment: images that never change, searched by their index; single images can be hidden."""

import bisect
import copy
import mmap
import threading
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.ann_index import AnnIndex, HidingIndex, Mask, Numbers
from search.browse_messages import WHEN, Counts, Listed, Place
from search.columns import Columns
from search.exact import nearest_of
from search.filter import Filter
from search.image_key import SHORT, Keys
from search.messages import Record
from search.newest import Newest
from search.ranking import LookedUp, Ranking, nothing, rank
from search.regions import Nearest, Regions

GATHER_US, COMPARE_US, WALK_US = 0.15, 0.015, 2.3
"""CPU microseconds, measured with 100,000 images of 384 numbers: to gather a vector, once for all
queries of a batch; to compare a query with it; of a graph search, for each candidate (its ef) by
the share that passes."""
MIN_EF = 64
"""A graph search with a lower ef counts as one with this ef: it costs less, but finds less."""
_REST = 64 - 4 * SHORT  # bits of a content hash behind the number of an id


class Segment:
    """A loaded segment; its methods may be called from any thread."""

    def __init__(
        self,
        ann: AnnIndex,
        keys: Keys,
        records: mmap.mmap | bytes,
        offsets: NDArray[np.int64],
        columns: Columns,
        regions: Regions | None = None,
    ) -> None:
        """`ann` has a vector a row, and behind them those of the `regions`."""
        self.rows = self.count = len(keys)
        """All images; and those that are not hidden."""
        self._columns = columns
        self._ann = ann
        self._regions = regions
        self._hider = ann if isinstance(ann, HidingIndex) else None
        self._newest = Newest(columns.texts(WHEN), keys)
        self._keys = keys
        self._records = memoryview(records)
        self._offsets = offsets
        self._alive: Mask = np.ones(len(keys), np.bool_)
        self._hiding = threading.Lock()

    def hide(self, rows: Numbers) -> None:
        """Make tombstones of some rows: they are found no more."""
        with self._hiding:
            hidden = np.unique(rows[self._alive[rows]])
            self._alive[hidden] = False
            self.count -= len(hidden)
            if self._hider:
                self._hider.hide(self._labels(hidden))

    def of_version(self, tombstones: Numbers) -> "Segment":
        """The same segment with tombstones of its own; the index itself is shared.

        An index that hides rows hides those of the version that was put in use last.
        """
        other = copy.copy(self)
        other._alive = np.ones(self.rows, np.bool_)
        other._alive[tombstones] = False
        other.count = int(np.count_nonzero(other._alive))
        return other

    def put_in_use(self) -> None:
        """Have the index hide the tombstones of this version, and show all other rows."""
        with self._hiding:
            if self._hider:
                self._hider.hide_only(self._labels(np.flatnonzero(~self._alive)))

    def rank(
        self,
        vectors: Matrix,
        ks: Sequence[int],
        ef: int,
        threads: int,
        passing: Filter | None = None,
    ) -> Ranking:
        """The `ks[i]` nearest images of each unit vector i, fewer when fewer pass the filter."""
        # None, too, where the index itself leaves out what is hidden
        mask = None if passing is None and self._hider else self._mask(passing)
        count = self.count if mask is None else int(np.count_nonzero(mask))
        if not count or not ks:
            return nothing(len(ks))
        width = min(max(ks), count)
        labels = np.zeros((len(ks), width), np.int64)
        scores = np.full((len(ks), width), -np.inf, np.float32)
        groups: dict[int, list[int]] = {}
        for i, k in enumerate(ks):  # a query with a large k must not slow the others down
            groups.setdefault(ef if k <= ef else 1 << (k - 1).bit_length(), []).append(i)
        for wide, group in groups.items():
            k = min(max(ks[i] for i in group), count)
            nearest, cosines = self._nearest(vectors[group], k, wide, threads, mask, count)
            labels[group, : nearest.shape[1]] = nearest
            scores[group, : nearest.shape[1]] = cosines
        return rank(scores, labels, ks, self._look_up)

    def _look_up(self, labels: Numbers) -> LookedUp:
        rows = self._regions.rows(labels) if self._regions else labels
        starts, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        return LookedUp(
            self._keys[rows].tobytes(),
            [
                msgspec.Raw(self._records[start:end])
                for start, end in zip(starts, ends, strict=True)
            ],
            self._regions.boxes(labels) if self._regions else b"",
        )

    def _nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None, count: int
    ) -> tuple[NDArray[np.integer], Matrix]:
        """The best vectors of the k nearest images of a mask, which has `count`; None for all."""
        needed = mask if count < self.rows else None
        total = self._regions.total if self._regions else count
        if self._regions and needed is not None:
            needed = self._regions.spread(needed)
            total = int(np.count_nonzero(needed))
        if count < self.rows and (count <= k or self._is_exact(total, len(vectors), ef)):
            rows = self._labels(np.flatnonzero(self._alive if mask is None else mask))
            total = len(rows)

            def find(wanted: int) -> Nearest:
                return nearest_of(self._ann, rows, vectors, wanted)
        else:

            def find(wanted: int) -> Nearest:
                return self._ann.nearest(vectors, wanted, max(ef, wanted), threads, needed)

        return self._regions.best_of_each(find, k, total) if self._regions else find(k)

    def _labels(self, rows: Numbers) -> Numbers:
        """The vectors of some rows."""
        return self._regions.labels(rows) if self._regions else rows

    def browse(self, passing: Filter | None, after: Place | None, limit: int) -> list[Listed]:
        """The first images that pass and come after a place."""
        rows = self._newest.page(after, limit, self._mask(passing)).tolist()
        return [self._newest.listed(row, self.record(row)) for row in rows]

    def counts(self, passing: Filter | None, fields: Sequence[str]) -> Counts:
        """The values of some fields among the images that pass; raises BadRequest."""
        return self._columns.counts(fields, self._mask(passing))

    def _mask(self, passing: Filter | None) -> Mask | None:
        """The rows that pass and are not hidden; None for all."""
        is_whole = self.count == self.rows
        if passing is not None:
            mask = self._columns.passing(passing)
            return mask if is_whole else mask & self._alive
        return None if is_whole else self._alive.copy()

    def _is_exact(self, count: int, queries: int, ef: int) -> bool:
        """Whether to compare all of `count` images that pass costs less than graph searches."""
        exact_us = count * (GATHER_US + COMPARE_US * queries)
        return exact_us < queries * WALK_US * max(ef, MIN_EF) * self.rows / count

    def find(self, content: int, location: int) -> int | None:
        """The row of the image with the two hashes of an id, None if it is not here."""
        wanted = (content, location)
        row = bisect.bisect_left(range(self.rows), wanted, key=self._id)
        found = row < self.rows and self._id(row) == wanted
        return row if found and self._alive[row] else None

    def find_number(self, number: int) -> int | None:
        """The first row of an image with the number of an id, None if there is none."""
        row = bisect.bisect_left(range(self.rows), (number << _REST, 0), key=self._id)
        while row < self.rows and self._id(row)[0] >> _REST == number:
            if self._alive[row]:
                return row
            row += 1
        return None

    def _id(self, row: int) -> tuple[int, int]:
        content, location, _ = self._keys[row].item()
        return content, location

    def key(self, row: int) -> bytes:
        """The IMAGE_KEY of a row."""
        return bytes(self._keys[row].tobytes())

    def record(self, row: int) -> Record:
        """The record of a row."""
        data = self._records[self._offsets[row] : self._offsets[row + 1]]
        return msgspec.msgpack.decode(data, type=Record)

    def vector(self, row: int) -> Matrix:
        """The vector of a row, float32 [dim]."""
        vector: Matrix = self._ann.vectors(np.array([row]))[0]
        return vector
