"""Tables of what belongs to keys of 64 bits: sorted arrays, a tenth of the memory of a dict."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from common.files import location_hash

Hashes = NDArray[np.uint64]


class KeyTable:
    """A row of numbers for each key; of several the last."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._keys: Hashes = np.empty(0, np.uint64)
        self._rows = np.empty(0, dtype)
        self._new: list[tuple[Hashes, np.ndarray]] = []

    def add(self, keys: Hashes, rows: np.ndarray) -> None:
        """Add a row for each key."""
        self._new.append((keys, rows))

    def find(self, key: int) -> Any:
        """The row of a key; None without one."""
        place = _place(self.keys, key)
        return None if place is None else self._rows[place]

    @property
    def keys(self) -> Hashes:
        """All keys, sorted."""
        if self._new:
            keys = np.concatenate([self._keys, *(some for some, _ in self._new)])
            rows = np.concatenate([self._rows, *(some for _, some in self._new)])
            order = np.argsort(keys, kind="stable")
            is_last = np.ones(len(order), np.bool_)
            is_last[:-1] = keys[order[1:]] != keys[order[:-1]]
            order = order[is_last]
            self._keys, self._rows, self._new = keys[order], rows[order], []
        return self._keys


class KeySet:
    """Some keys."""

    def __init__(self, keys: Iterable[int] | Hashes) -> None:
        found = keys if isinstance(keys, np.ndarray) else np.fromiter(keys, np.uint64)
        self._keys: Hashes = np.sort(found)

    def __contains__(self, key: int) -> bool:
        return _place(self._keys, key) is not None


class PathSet:
    """Some paths, 8 bytes of memory each."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._keys = KeySet(map(location_hash, paths))

    def __contains__(self, path: object) -> bool:
        return location_hash(str(path)) in self._keys


def _place(keys: Hashes, key: int) -> int | None:
    """Where a key is among sorted keys; None without it."""
    place = int(keys.searchsorted(np.uint64(key)))
    return place if place < len(keys) and keys[place] == key else None
