"""The delta of a shard: images that were put since its version was made, searched exactly."""

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from common.wire import Matrix
from search.ann_index import Mask, Numbers
from search.browse_messages import WHEN, Counts, Listed, Place, merge_counts, merge_listed
from search.columns import Columns
from search.exact import Exact, nearest_of
from search.fields import fields_of_index, pack
from search.filter import Filter
from search.image_key import IMAGE_KEY, SHORT, Keys
from search.messages import Fields, Record
from search.newest import Newest
from search.ranking import LookedUp, Ranking, nothing, rank

FIRST = 256
"""Rows for which there is room at first; the room is doubled when it is full."""
MIN_BLOCK, MAX_BLOCK = 32, 512
"""Rows of the blocks whose columns are packed together: powers of two, and of each but the largest
one block at most. So few rows are packed anew after a put that a search with a filter follows; a
row takes 5 to 10 us."""


class Rows(NamedTuple):
    """The rows of a delta as one search sees them. Room behind them may be written to."""

    vectors: Matrix
    keys: Keys
    alive: Mask
    """bool [rows], never changed."""


class Delta:
    """A growing part of a shard: one thread changes it, and any thread may search it."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        """What filters can test of the whole version, before its images are put here."""
        self._rows = Rows(np.empty((0, 0), np.float32), np.empty(0, IMAGE_KEY), np.empty(0, bool))
        self._records: list[bytes] = []
        self._row_of: dict[bytes, int] = {}
        self._blocks = _Blocks(self._records)
        self._replacing = threading.Lock()  # an id has its old row, or its new one

    @property
    def rows(self) -> int:
        """All images, also those that are hidden."""
        return len(self._rows.alive)

    @property
    def count(self) -> int:
        """The images that are not hidden."""
        return int(np.count_nonzero(self._rows.alive))

    def put(self, key: bytes, vector: Matrix, record: bytes) -> None:
        """Add an image by its IMAGE_KEY, or replace it: a search finds the old row or the new."""
        row = self.rows
        vectors, keys = self._with_room(len(vector))
        vectors[row], keys[row] = vector, np.frombuffer(key, IMAGE_KEY)[0]
        self._records.append(record)
        alive = np.append(self._rows.alive, True)
        old = self._row_of.get(key[:16])
        if old is not None:
            alive[old] = False
        with self._replacing:
            self._row_of[key[:16]] = row
            self._rows = Rows(vectors, keys, alive)

    def hide(self, rows: Numbers) -> None:
        """Make tombstones of some rows: they are found no more."""
        alive = self._rows.alive.copy()
        alive[rows] = False
        self._rows = self._rows._replace(alive=alive)

    def rank(
        self,
        vectors: Matrix,
        ks: Sequence[int],
        _ef: int,
        threads: int,
        passing: Filter | None = None,
    ) -> Ranking:
        """The `ks[i]` nearest images of each unit vector i, fewer when fewer pass the filter."""
        rows = self._rows
        total, mask = len(rows.alive), self._mask(rows, passing)
        count = int(np.count_nonzero(mask))
        if not count:
            return nothing(len(ks))
        index, k = Exact(rows.vectors[:total]), min(max(ks), count)
        if 2 * count < total:
            labels, scores = nearest_of(index, np.flatnonzero(mask), vectors, k)
        else:
            needed = None if count == total else mask
            labels, scores = index.nearest(vectors, k, k, threads, needed)

        def look_up(labels: Numbers) -> LookedUp:
            records = [msgspec.Raw(self._records[row]) for row in labels.tolist()]
            return LookedUp(rows.keys[labels].tobytes(), records)

        return rank(scores, labels, ks, look_up)

    def browse(self, passing: Filter | None, after: Place | None, limit: int) -> list[Listed]:
        """The first images that pass and come after a place."""
        rows = self._rows
        mask = self._mask(rows, passing)
        found = []
        for block in self._blocks.of(rows, self.fields):
            page = block.newest.page(after, limit, block.masked(mask)).tolist()
            records = [self.record(block.first + row) for row in page]
            found.append(list(map(block.newest.listed, page, records)))
        return merge_listed(found, limit)

    def counts(self, passing: Filter | None, fields: Sequence[str]) -> Counts:
        """The values of some fields among the images that pass; raises BadRequest."""
        rows = self._rows
        mask = self._mask(rows, passing)
        blocks = self._blocks.of(rows, self.fields)
        return merge_counts(block.columns.counts(fields, block.masked(mask)) for block in blocks)

    def find(self, content: int, location: int) -> int | None:
        """The row of the image with the two hashes of an id, None if it is not here."""
        image = content.to_bytes(8, "big") + location.to_bytes(8, "big")
        with self._replacing:
            row = self._row_of.get(image)
            return row if row is not None and self._rows.alive[row] else None

    def find_number(self, number: int) -> int | None:
        """The first row of an image with the number of an id, None if there is none."""
        _, keys, alive = self._rows
        contents = keys["content"][: len(alive)].astype(np.uint64)
        found = np.flatnonzero(alive & (contents >> np.uint64(64 - 4 * SHORT) == number))
        return int(found[0]) if len(found) else None

    def key(self, row: int) -> bytes:
        """The IMAGE_KEY of a row."""
        return bytes(self._rows.keys[row].tobytes())

    def record(self, row: int) -> Record:
        """The record of a row."""
        return msgspec.msgpack.decode(self._records[row], type=Record)

    def vector(self, row: int) -> Matrix:
        """The vector of a row, float32 [dim]."""
        vector: Matrix = self._rows.vectors[row]
        return vector

    def _mask(self, rows: Rows, passing: Filter | None) -> Mask:
        """The rows that pass and are not hidden."""
        if passing is None:
            return rows.alive
        masks = [block.columns.passing(passing) for block in self._blocks.of(rows, self.fields)]
        return np.concatenate(masks) & rows.alive

    def _with_room(self, dim: int) -> tuple[Matrix, Keys]:
        """The vectors and the keys, with room for one more."""
        vectors, keys, alive = self._rows
        if len(alive) < len(keys):
            return vectors, keys
        room = 2 * len(keys) or FIRST
        grown = np.empty((room, dim), np.float32), np.empty(room, IMAGE_KEY)
        if len(alive):
            grown[0][: len(alive)], grown[1][: len(alive)] = vectors, keys
        return grown


class _Block(NamedTuple):
    """Some rows, packed for filters and in the order of browsing."""

    first: int
    columns: Columns
    newest: Newest

    def masked(self, mask: Mask) -> Mask:
        """Its own part of a mask of all rows."""
        return mask[self.first : self.first + self.columns.rows]


class _Blocks:
    """Blocks of a growing list of records, the largest first; the last has few rows, or none."""

    def __init__(self, records: Sequence[bytes]) -> None:
        self._records = records
        self._blocks: dict[tuple[int, int], _Block] = {}
        self._packing = threading.Lock()

    def of(self, rows: Rows, fields: Fields) -> list[_Block]:
        """The blocks of all rows, in order, with columns for these fields of theirs."""
        with self._packing:
            known = self._blocks
            spans = list(_spans(len(rows.alive)))
            blocks = {span: known.get(span) or self._packed(rows, fields, *span) for span in spans}
            if spans[-1] >= max(known, default=(0, 0)):  # not an earlier state of the rows
                self._blocks = blocks
            return list(blocks.values())

    def _packed(self, rows: Rows, fields: Fields, first: int, count: int) -> _Block:
        packed = self._records[first : first + count]
        records = [msgspec.msgpack.decode(record, type=Record) for record in packed]
        columns = Columns(pack(records, fields_of_index(records, fields)), count)
        return _Block(first, columns, Newest(columns.texts(WHEN), rows.keys[first : first + count]))


def _spans(rows: int) -> Iterator[tuple[int, int]]:
    """The first row and the number of rows of each block."""
    first, size = 0, MAX_BLOCK
    while size >= MIN_BLOCK:
        if rows - first >= size:
            yield first, size
            first += size
        else:
            size //= 2
    yield first, rows - first
