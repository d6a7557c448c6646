"""Boxes, of which HEIF and JPEG 2000 files are made (ISO/IEC 14496-12, 4.2); chunks of a WEBP."""

from collections.abc import Iterator
from typing import NamedTuple

MAX_BOXES = 20_000


class Box(NamedTuple):
    """A box: its type, and where its content begins and ends in the file."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """The boxes from one place of a file to another; a broken one ends them."""
    for _ in range(MAX_BOXES):
        size, start = big_endian(data, at, 4), at + 8
        if size == 1:
            size, start = big_endian(data, at + 8, 8), at + 16
        stop = at + size if size else end
        if stop < start or stop > end:
            return
        yield Box(data[at + 4 : at + 8], start, stop)
        at = stop


def big_endian(data: bytes, at: int, size: int) -> int:
    """The unsigned number in `size` bytes of the file; behind its end, of fewer."""
    return int.from_bytes(data[at : at + size], "big")


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a WEBP file, which is a RIFF: the name and the content of each (RFC 9649)."""
    at = 12
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            return
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : end]
        at = end + end % 2
