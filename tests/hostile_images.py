"""Image files of few bytes that cost gigabytes or seconds, or a reader, as they ask."""

import struct
import zlib
from collections.abc import Callable

from tests.front.pictures import png

SIDE = 7000
"""49 megapixels, nearly the most that is decoded."""


def gif(screen: tuple[int, int], frame: tuple[int, int, int, int], disposal: int = 3) -> bytes:
    """A GIF whose one frame (left, top, width, height) is transparent and has no pixels."""
    control = b"!\xf9\x04" + bytes([disposal << 2 | 1, 13, 0, 0, 0])
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + b",,,!!!"
    return head + control + b"," + struct.pack("<4H", *frame) + b"\0\x02\x02\x4c\x01\0;"


def gif_of_blocks(count: int) -> bytes:
    """A GIF with a comment before its frame in so many blocks of a byte."""
    whole = gif((8, 8), (0, 0, 8, 8))
    at = whole.index(b"!")
    return whole[:at] + b"!\xfe" + b"\x01a" * count + b"\0" + whole[at:]


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data


def jpeg_of_scans(scans: int, side: int = SIDE) -> bytes:
    """A progressive JPEG in grey, all of whose scans but one go over its blocks for nothing."""
    blocks = (-(-side // 8)) ** 2
    run = "0" + "0" * 14  # of 2**14 blocks, which stay as they are
    bits = run * -(-blocks >> 14)
    runs = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    tables = [b"\x00\x01" + bytes(15) + b"\x00", b"\x10\x01" + bytes(15) + b"\xe0"]
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + b"\1" * 64)
        + segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
        + b"".join(segment(0xC4, table) for table in tables)
        + segment(0xDA, b"\x01\x01\x00\x00\x00\x01")
        + bytes(100)
        + (segment(0xDA, b"\x01\x01\x00\x01\x3f\x10") + runs) * (scans - 1)
        + b"\xff\xd9"
    )


def jpeg_with(*segments: bytes) -> bytes:
    """A small JPEG with these before all others."""
    whole = jpeg_of_scans(1, 8)
    return whole[:2] + b"".join(segments) + whole[2:]


def exif(entries: int, size: int) -> bytes:
    """A directory that says how the camera was held, and of which all else is the same bytes."""
    start = 8 + 2 + 12 * (entries + 1) + 4
    rows = [struct.pack("<HHII", 0x0112, 3, 1, 6)]
    rows += [struct.pack("<HHII", 0x1000 + n, 3, size // 2, start) for n in range(entries)]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4 + size)


def exif_as_text() -> bytes:
    """What ImageMagick writes into a PNG, packed: 300 kB of EXIF, 2,000 times over."""
    text = b"\n\n\n" + exif(2_000, 300_000).hex().encode()
    return b"zTXtRaw profile type exif\0\0" + zlib.compress(text)


def bmp_of_runs(side: int, row: bytes) -> bytes:
    """A BMP in runs of equal pixels, of which each row is as told."""
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 256, 0)
    palette = b"".join(bytes([n, 255 - n, n, 0]) for n in range(256))
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + header + palette + row * side + b"\0\1"


def webp(side: int) -> bytes:
    """An animated WEBP with a square canvas, and a frame of one pixel."""
    pixel = b"\x2f\0\0\0\0\x07\x10\x11\x11\x88\x88\x08\x08"
    frame = bytes(12) + b"\x64\0\0\0" + _riff(b"VP8L", pixel)
    size = (side - 1).to_bytes(3, "little")
    parts = _riff(b"VP8X", b"\x12\0\0\0" + 2 * size) + _riff(b"ANIM", bytes(6))
    return _riff(b"RIFF", b"WEBP" + parts + _riff(b"ANMF", frame))


def _riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def small_png(*extra: bytes) -> bytes:
    """A PNG of 8x8 with chunks beside its pixels."""
    return png((8, 8), 8, 0, bytes(72), *extra)


MEGABYTE = zlib.compress(bytes(2**20 - 1))


def heif_that_ends_in(*boxes: bytes) -> bytes:
    """A HEIC of the boxes about its items, of which the last one is empty and ends the file."""
    inner = bytes(4) + b"".join(boxes)
    kind = b"ftypheic\0\0\0\0mif1heic"
    return _box(kind) + _box(b"meta" + inner)


def _box(content: bytes) -> bytes:
    return struct.pack(">I", 4 + len(content)) + content


HOSTILE: dict[str, tuple[int, Callable[[], bytes]]] = {
    "GIF with a frame beyond its screen": (413, lambda: gif((41, 65), (0, 0, 65300, 65409))),
    "GIF that is to be cleared": (413, lambda: gif((41, 65), (0, 0, 65300, 65409), 2)),
    "GIF with a frame far away": (413, lambda: gif((41, 65), (65000, 65000, 1, 1))),
    "GIF of blocks": (422, lambda: gif_of_blocks(120_000)),
    "JPEG of 2,000 scans": (413, lambda: jpeg_of_scans(2_000)),
    "JPEG of 30 scans": (413, lambda: jpeg_of_scans(30)),
    "small JPEG of 600 scans": (413, lambda: jpeg_of_scans(600, 8)),
    "JPEG of segments": (422, lambda: jpeg_with(segment(0xFE, b"") * 5_000)),
    "JPEG of EXIF": (200, lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + exif(2_500, 30_000)))),
    "PNG of EXIF": (200, lambda: small_png(b"eXIf" + exif(3_000, 200_000))),
    "PNG of EXIF as text": (200, lambda: small_png(exif_as_text())),
    "PNG of profiles": (200, lambda: small_png(*[b"iCCPk\0\0" + MEGABYTE] * 200)),
    "PNG of texts": (
        200,
        lambda: small_png(*(b"zTXtk%d\0\0" % number + MEGABYTE for number in range(60))),
    ),
    "BMP in runs": (413, lambda: bmp_of_runs(SIDE, b"\1\1\0\0")),
    "HEIC without a list of its items": (422, lambda: heif_that_ends_in(_box(b"iinf"))),
    "HEIC without a place of its items": (
        422,
        lambda: heif_that_ends_in(_box(b"iinf" + bytes(6)), _box(b"iloc")),
    ),
    "WEBP with a canvas of 268 megapixels": (413, lambda: webp(16_383)),
    "WEBP with a canvas of 3,600 megapixels": (413, lambda: webp(60_000)),
}
"""Each with the status that it is answered with; none is over 300 kB."""
LONG: dict[str, tuple[int, Callable[[], bytes]]] = {
    "PNG of chunks": (422, lambda: small_png(*[b"tEXtk\0v"] * 200_000)),
    "PNG of 1,000 profiles": (200, lambda: small_png(*[b"iCCPk\0\0" + MEGABYTE] * 1_000)),
    "PNG of empty pixels": (422, lambda: small_png(*[b"IDAT"] * 200_000)),
}
"""The same, over a megabyte each."""
COSTLY: dict[str, tuple[int, Callable[[], bytes]]] = {
    "JPEG of 20 scans": (200, lambda: jpeg_of_scans(20)),
    "BMP in long runs": (200, lambda: bmp_of_runs(2040, b"\xff\1" * 8 + b"\0\0")),
    "large blank PNG": (200, lambda: png((SIDE, SIDE), 8, 0, bytes((1 + SIDE) * SIDE))),
}
"""Images within every limit, of which each takes up to half a second of CPU."""
