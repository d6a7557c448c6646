"""The columns of a shard: which rows pass a filter.

Each test of a filter is a range of value numbers, or a table of them: see search/fields.py.
"""

import bisect
import mmap
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import msgspec
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from common.wire import encode
from search.ann_index import Mask
from search.browse_messages import MAX_COUNTED, Counts, ValueCount, too_many_values
from search.fields import ALIGNED, CODE, Head, kind_of
from search.filter import BOUNDS, Filter, Value
from search.messages import Kind

KEPT = 16
"""Filters of a shard whose rows are kept; those of a million rows take 1 MB each."""


class Column(NamedTuple):
    """The number of each row's value, uint32 [rows]: 0 for none, n for the nth of `values`."""

    codes: NDArray[np.uint32]
    values: NDArray[Any]
    texts: memoryview | None

    def equal(self, values: Iterable[Value]) -> Mask:
        """The rows with one of some values of this kind."""
        wanted = np.zeros(len(self.values) + 1, np.bool_)
        for value in values:
            place = self.place(value)
            if place < len(self.values) and self._value(place) == _own(value):
                wanted[place + 1] = True
        return wanted[self.codes]

    def between(self, test: Filter) -> Mask:
        """The rows within the bounds of a test."""
        first, end = 0, len(self.values)
        if test.gt is not None:
            first = self.place(test.gt, after=True)
        if test.gte is not None:
            first = self.place(test.gte)
        if test.lt is not None:
            end = self.place(test.lt)
        if test.lte is not None:
            end = self.place(test.lte, after=True)
        return self._span(first, end)

    def begins(self, prefix: str) -> Mask:
        """The rows whose text begins so."""
        start = prefix.encode()
        after = bisect.bisect_left(range(len(self.values)), start + b"\xff", key=self._value)
        return self._span(self.place(prefix), after)

    def value(self, place: int) -> Value:
        """The value at a place among the sorted ones."""
        value: Value = self._value(place)
        return value.decode(errors="ignore") if isinstance(value, bytes) else value

    def _span(self, first: int, end: int) -> Mask:
        return (self.codes > first) & (self.codes <= end)

    def place(self, value: Value, *, after: bool = False) -> int:
        """The place of a value among the sorted ones, or behind it."""
        find = bisect.bisect_right if after else bisect.bisect_left
        return find(range(len(self.values)), _own(value), key=self._value)

    def _value(self, place: int) -> Any:
        """A value, in Python's own type: numpy rounds whole numbers to compare them."""
        if self.texts is None:
            return self.values[place].item()
        start = int(self.values[place - 1]) if place else 0
        return bytes(self.texts[start : int(self.values[place])])


def _own(value: Value) -> Any:
    return value.encode() if isinstance(value, str) else value


class Columns:
    """The columns of a loaded shard; they may be used from any thread."""

    def __init__(self, data: bytes | mmap.mmap, rows: int) -> None:
        """`data` is what `pack` made; without any, no filter finds a row. Raises ValueError."""
        self.rows = rows
        self._columns: dict[str, dict[Kind, Column]] = defaultdict(dict)
        self._kept: LRUCache[bytes, Mask] = LRUCache(KEPT)
        self._lock = threading.Lock()
        view = memoryview(data)
        size = int.from_bytes(view[:ALIGNED], "little")
        body = view[ALIGNED + size + -size % ALIGNED :]
        heads = (
            msgspec.msgpack.decode(view[ALIGNED : ALIGNED + size], type=list[Head]) if size else []
        )
        for head in heads:
            texts = body[head.texts_at : head.texts_at + head.size]
            self._columns[head.field][head.kind] = Column(
                np.frombuffer(body, CODE, rows, head.codes_at),
                np.frombuffer(body, head.dtype, head.values, head.values_at),
                texts if head.kind == "text" else None,
            )

    def passing(self, tree: Filter) -> Mask:
        """The rows that pass a checked filter, bool [rows]; not to be written to."""
        key = encode(tree)
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            kept = self._passing(tree)
            with self._lock:
                self._kept[key] = kept
        return kept

    def counts(self, fields: Sequence[str], mask: Mask | None = None) -> Counts:
        """How many of the rows of a mask, or of all, have each value of some fields.

        Raises BadRequest for a field with too many values.
        """
        images = self.rows if mask is None else int(np.count_nonzero(mask))
        return Counts(images, [self._counts(field, mask) for field in fields])

    def _counts(self, field: str, mask: Mask | None) -> list[ValueCount]:
        found: list[ValueCount] = []
        for column in self._columns.get(field, {}).values():
            counts = np.bincount(column.codes if mask is None else column.codes[mask], minlength=1)
            places = np.flatnonzero(counts[1:])
            if len(found) + len(places) > MAX_COUNTED:
                raise too_many_values(field)
            values = (column.value(place) for place in places.tolist())
            found += map(ValueCount, values, counts[places + 1].tolist())
        return found

    def texts(self, field: str) -> Column:
        """The texts of a field; without any, every row has none."""
        none = Column(np.zeros(self.rows, CODE), np.empty(0, "<i8"), memoryview(b""))
        return self._columns.get(field, {}).get("text", none)

    def _passing(self, tree: Filter) -> Mask:
        if tree.not_ is not None:
            return np.logical_not(self._passing(tree.not_))
        if tree.and_ is not None:
            return reduce(np.logical_and, map(self._passing, tree.and_))
        if tree.or_ is not None:
            return reduce(np.logical_or, map(self._passing, tree.or_))
        columns = self._columns.get(tree.field or "", {})
        if tree.exists is not None:
            has = self._has(columns)
            return has if tree.exists else np.logical_not(has)
        if tree.ne is not None:
            return self._has(columns) & ~self._equal(columns, [tree.ne])
        if tree.eq is not None:
            return self._equal(columns, [tree.eq])
        if tree.in_ is not None:
            return self._equal(columns, tree.in_)
        bounds = [tree.get(name) for name in tree.given(("prefix", *BOUNDS))]
        column = columns.get(kind_of(bounds[0]))
        if column is None:
            return np.zeros(self.rows, np.bool_)
        return column.begins(tree.prefix) if tree.prefix is not None else column.between(tree)

    def _has(self, columns: Mapping[Kind, Column]) -> Mask:
        return self._any(column.codes > 0 for column in columns.values())

    def _equal(self, columns: Mapping[Kind, Column], values: Sequence[Value]) -> Mask:
        return self._any(
            column.equal([value for value in values if kind_of(value) == kind])
            for kind, column in columns.items()
        )

    def _any(self, masks: Iterable[Mask]) -> Mask:
        return reduce(np.logical_or, masks, np.zeros(self.rows, np.bool_))
