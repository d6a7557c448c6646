"""The entries of EXIF, which is a TIFF without a picture (TIFF 6.0, pages 13 to 16)."""

import re
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

MAX_TEXT = 64
"""Bytes of a text that are read."""
TEXT = 2
"""The type of a text."""
SIZES = {3: 2, 4: 4}
"""Bytes of a whole number, by its type."""
_BEGINS = re.compile(rb"^(?:Exif\0\0){1,2}")


class Entry(NamedTuple):
    """An entry of a directory; `at` is where its value, or the place of its value, stands."""

    tag: int
    kind: int
    values: int
    at: int


class Exif:
    """EXIF by its entries. What is broken is not there."""

    def __init__(self, data: bytes) -> None:
        """`data` may also be a TIFF."""
        self._data = _BEGINS.sub(b"", data, count=1)
        self._is_proper = self._data[:4] in (b"II*\0", b"MM\0*")
        self._order: Literal["little", "big"] = "little" if self._data[:2] == b"II" else "big"
        self._entry = struct.Struct(f"{'<' if self._order == 'little' else '>'}HHI4x")

    def first(self) -> Iterator[Entry]:
        """The entries of the first directory."""
        return self.entries(self._number(4, 4))

    def entries(self, start: int) -> Iterator[Entry]:
        """The entries of the directory at a place."""
        begin, size = start + 2, self._entry.size
        count = self._number(start, 2) if self._is_proper else 0
        count = min(count, max(0, len(self._data) - begin) // size)
        block = memoryview(self._data)[begin : begin + count * size]
        for place, (tag, kind, values) in enumerate(self._entry.iter_unpack(block)):
            yield Entry(tag, kind, values, begin + place * size + 8)

    def number(self, entry: Entry) -> int:
        """The first whole number of an entry, 0 if it has none."""
        return self._number(entry.at, SIZES.get(entry.kind, 0))

    def text(self, entry: Entry) -> str:
        """The text of an entry, up to its end or `MAX_TEXT`, with what can be shown of it."""
        if entry.kind != TEXT:
            return ""
        at = entry.at if entry.values <= 4 else self._number(entry.at, 4)
        found = self._data[at : at + min(entry.values, MAX_TEXT)].partition(b"\0")[0]
        told = found.decode(errors="ignore")
        return " ".join("".join(c if c.isprintable() else " " for c in told).split())

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._data[at : at + size], self._order)
