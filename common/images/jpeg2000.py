"""The main header of a JPEG 2000 codestream (ISO/IEC 15444-1, A.5 and A.6)."""

import struct
from typing import NamedTuple

from common.errors import TooLarge, Unprocessable
from common.images.boxes import big_endian, boxes
from common.images.formats import ImageFile

MAX_COLOURS = 4
MAX_TILES = 4_096
"""OpenJPEG takes 10 kB for each tile."""
MAX_MARKERS = 1_000
BYTES_PER_PIXEL = 4
"""OpenJPEG keeps 4 bytes of a colour where others keep one, so an image has so many pixels less."""
_BEGINS = b"\xff\x4f\xff\x51"
_TILE, _CODING = 0x90, 0x52


class Shape(NamedTuple):
    """The size of an image, and how often it can be halved."""

    width: int
    height: int
    halvings: int


def read_jpeg2000(data: bytes, max_pixels: int, at_least: int) -> ImageFile:
    """Read the main header; raises for what claims too much.

    The result says how often the image is to be halved, so that its shorter side keeps `at_least`
    pixels and it is within the limit.
    """
    shape = _shape(data)
    halvings = 0
    while halvings < shape.halvings and (
        (at_least and min(shape[:2]) >> halvings + 1 >= at_least)
        or shape.width * shape.height >> 2 * halvings > max_pixels // BYTES_PER_PIXEL
    ):
        halvings += 1
    if shape.width * shape.height >> 2 * halvings > max_pixels // BYTES_PER_PIXEL:
        raise TooLarge(
            f"the image has {shape.width}x{shape.height} pixels; a JPEG 2000 may have"
            f" {max_pixels // BYTES_PER_PIXEL}"
        )
    return ImageFile(data, halvings=halvings)


def _shape(data: bytes) -> Shape:
    start = 0
    if not data.startswith(_BEGINS):
        streams = (box.start for box in boxes(data, 0, len(data)) if box.kind == b"jp2c")
        start = next(streams, len(data))
    if not data.startswith(_BEGINS, start) or len(data) < start + 42:
        raise Unprocessable("the image is broken: it has no header of JPEG 2000")
    right, bottom, left, top, *tiles, colours = struct.unpack_from(">8IH", data, start + 8)
    width, height = right - left, bottom - top
    if not 0 < colours <= MAX_COLOURS or width <= 0 or height <= 0 or 0 in tiles[:2]:
        raise Unprocessable("the image is broken: its header of JPEG 2000")
    across, down = -(-(right - tiles[2]) // tiles[0]), -(-(bottom - tiles[3]) // tiles[1])
    if across * down > MAX_TILES:
        raise TooLarge(f"the image has {across * down} tiles; {MAX_TILES} is the limit")
    return Shape(width, height, _halvings(data, start + 2))


def _halvings(data: bytes, at: int) -> int:
    """How often the image was halved, by its coding style."""
    for _ in range(MAX_MARKERS):
        code = big_endian(data, at + 1, 1)
        if code in (0, _TILE):
            break
        if code == _CODING:
            return min(32, big_endian(data, at + 9, 1))
        at += 2 + big_endian(data, at + 2, 2)
    return 0
