"""The rows of a segment in the order of browsing: the newest first, of equal times by id."""

import bisect
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.ann_index import Mask
from search.browse_messages import ID_BYTES, Listed, Place
from search.columns import Column
from search.image_key import Keys
from search.messages import Record

BEHIND = b"\xff" * (ID_BYTES + 1)
"""Greater than the bytes of any id."""
Rows = NDArray[np.int32]
BLOCK = 2**12
"""Rows that are first looked at for some that pass."""


class Newest:
    """The order of some rows; it may be used from any thread."""

    def __init__(self, whens: Column, keys: Keys) -> None:
        """`keys[row]` is the key of a row, and `whens` has its time."""
        self._whens = whens
        self._keys = keys

    @cached_property
    def _order(self) -> Rows:
        """The rows in order. Of a million it takes .15 s, once, when it is first asked for."""
        later = ~self._whens.codes  # rows without a time have code 0
        contents, locations = self._keys["content"], self._keys["location"]
        is_behind = contents[1:] > contents[:-1]
        is_copy = (contents[1:] == contents[:-1]) & (locations[1:] > locations[:-1])
        if (is_behind | is_copy).all():  # as in a segment
            return np.argsort(later, kind="stable").astype(np.int32)
        by_id = np.lexsort((locations, contents))
        return by_id[np.argsort(later[by_id], kind="stable")].astype(np.int32)

    def page(self, after: Place | None, limit: int, mask: Mask | None = None) -> Rows:
        """The first rows, of a mask's or of all, that come after a place."""
        start = bisect.bisect_right(self._order, self._target(after), key=self._key) if after else 0
        if mask is None:
            return self._order[start : start + limit]
        found: list[Rows] = []
        size = BLOCK
        while start < len(self._order) and sum(map(len, found)) < limit:
            block = self._order[start : start + size]
            found.append(block[mask[block]])
            start, size = start + size, 2 * size
        return np.concatenate(found)[:limit] if found else self._order[:0]

    def listed(self, row: int, record: Record) -> Listed:
        """A row, with its record."""
        code = int(self._whens.codes[row])
        when = str(self._whens.value(code - 1)) if code else None
        return Listed(when, self._keys[row].tobytes(), record)

    def _key(self, row: int) -> tuple[int, bytes]:
        """What the rows are sorted by."""
        return -int(self._whens.codes[row]), self._keys[row].tobytes()[:ID_BYTES]

    def _target(self, place: Place) -> tuple[int, bytes]:
        """What the keys are greater than of the rows after a place."""
        if place.when is None:
            return 0, place.id
        earlier = self._whens.place(place.when)
        is_there = earlier < len(self._whens.values) and self._whens.value(earlier) == place.when
        return -earlier - 1, place.id if is_there else BEHIND
