"""The canvas of a GIF or WEBP, for whose pixels Pillow takes memory on opening the file."""

from collections.abc import Iterator

from common.errors import Unprocessable
from common.images.formats import Size

MAX_BLOCKS = 100_000
"""Blocks of a GIF before a frame: 25 MB of them, more than front accepts."""


def webp_size(data: bytes) -> Size | None:
    """The canvas of a WEBP, which contains all its frames; None for a broken file."""
    if len(data) < 30:
        return None
    kind = data[15:16]
    if kind == b"X":
        return 1 + _little(data, 24, 3), 1 + _little(data, 27, 3)
    if kind == b"L":
        bits = _little(data, 21, 4)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF


def gif_sizes(data: bytes) -> Iterator[Size]:
    """The size of a GIF in Pillow and in browsers after each of its frames.

    It is that of the screen, enlarged to hold all frames until then. Raises Unprocessable if too
    many blocks precede a frame.
    """
    size = _little(data, 6, 2), _little(data, 8, 2)
    at, blocks, frames = 13, 0, 0
    if data[10:11] and data[10] & 0x80:
        at += 6 << (data[10] & 7)
    while blocks < MAX_BLOCKS:
        blocks += 1
        kind = data[at : at + 1]
        at += 1
        if kind == b"!":
            at, read = _after_extension(data, at, MAX_BLOCKS - blocks, first=not frames)
            blocks += read
        elif kind == b",":
            right, bottom = (
                _little(data, at + n, 2) + _little(data, at + n + 4, 2) for n in (0, 2)
            )
            size = max(size[0], right), max(size[1], bottom)
            yield size
            frames += 1
            flags = _little(data, at + 8, 1)
            at += 10 + (6 << (flags & 7) if flags & 0x80 else 0)
            at, blocks = _after_blocks(data, at, MAX_BLOCKS)
        elif kind in (b"", b";"):
            return
    raise Unprocessable(f"the image has more than {MAX_BLOCKS} blocks before a frame")


def _after_extension(data: bytes, at: int, most: int, *, first: bool) -> tuple[int, int]:
    """The offset at which Pillow ends a GIF's extension, and the blocks read, at most `most`.

    `first`: the extension stands before the first frame.
    """
    label = data[at : at + 1]
    at += 1
    length = _little(data, at, 1)
    name = data[at + 1 : at + 1 + length]
    at += 1 + length
    if label == b"\xfe" and not length:  # in Pillow, this ends a comment and no other
        return at, 1
    if first and label == b"\xff" and name.startswith(b"NETSCAPE2.0"):
        at += 1 + _little(data, at, 1)
    return _after_blocks(data, at, most)


def _after_blocks(data: bytes, at: int, most: int) -> tuple[int, int]:
    """The offset after the block of no bytes that ends a row of blocks, and the blocks read."""
    for read in range(most):
        length = _little(data, at, 1)
        at += 1 + length
        if not length:
            return at, read + 1
    return at, most


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
