"""The headers of an image file, checked before Pillow reads the file.

On opening, Pillow takes memory for the pixels of a GIF or WEBP, unpacks the metadata of a PNG, and
reads any number of blocks. The checks here unpack nothing, and each loop has a limit.
"""

import re
from typing import NamedTuple

from common.errors import TooLarge, Unprocessable

Size = tuple[int, int]
"""Width and height, in pixels."""

SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBPVP8[ XL]", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
}
"""The first bytes of a file, for each format that we read."""
MAX_CHUNKS = 100_000
"""Chunks of a PNG. libpng writes 8 kB a chunk: a PNG of 512 MB, prepare's limit, has 65,000.

Also blocks of a GIF before its first frame: 25 MB of them, more than front accepts."""
MAX_PACKED = 32
"""Texts of a PNG that may be compressed. Pillow unpacks up to 1 MB of each."""
MAX_SEGMENTS = 4_000
"""Segments of a JPEG. A colour profile or XMP takes one for 64 kB; a scan has up to four tables."""
MAX_SCANS = 500
"""Scans of a JPEG of any size; the fuzzers of libjpeg-turbo stop there, too."""


def format_of(data: bytes) -> str | None:
    """The format of a file by its first bytes; None for any other format."""
    return next((name for name, begins in SIGNATURES.items() if begins.match(data)), None)


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


def gif_size(data: bytes) -> Size | None:
    """The size of a GIF in Pillow and in browsers: its screen, enlarged to hold the first frame.

    None for a file without a frame. Raises Unprocessable if too many blocks precede the frame.
    """
    screen = _little(data, 6, 2), _little(data, 8, 2)
    at, blocks = 13, 0
    if data[10:11] and data[10] & 0x80:
        at += 6 << (data[10] & 7)
    while blocks < MAX_CHUNKS:
        blocks += 1
        kind = data[at : at + 1]
        at += 1
        if kind == b"!":
            at, read = _after_extension(data, at, MAX_CHUNKS - blocks)
            blocks += read
        elif kind == b",":
            right, bottom = (
                _little(data, at + n, 2) + _little(data, at + n + 4, 2) for n in (0, 2)
            )
            return max(screen[0], right), max(screen[1], bottom)
        elif kind in (b"", b";"):
            return None
    raise Unprocessable(f"the image has more than {MAX_CHUNKS} blocks before its first frame")


def _after_extension(data: bytes, at: int, most: int) -> tuple[int, int]:
    """The offset at which Pillow ends a GIF's extension, and the blocks read, at most `most`."""
    label = data[at : at + 1]
    at += 1
    length = _little(data, at, 1)
    name = data[at + 1 : at + 1 + length]
    at += 1 + length
    if label == b"\xfe" and not length:  # in Pillow, this ends a comment and no other
        return at, 1
    if label == b"\xff" and name.startswith(b"NETSCAPE2.0"):
        at += 1 + _little(data, at, 1)
    for read in range(most):
        length = _little(data, at, 1)
        at += 1 + length
        if not length:
            return at, read + 1
    return at, most


def check_png(data: bytes) -> None:
    """Raise Unprocessable for a PNG with too many chunks, or too many compressed chunks."""
    at, packed, profiles = 8, 0, 0
    for _ in range(MAX_CHUNKS):
        name = data[at + 4 : at + 8]
        if len(name) < 4:
            return
        profiles += name == b"iCCP"
        packed += name in (b"zTXt", b"iTXt")
        if profiles > 1 or packed > MAX_PACKED:
            raise Unprocessable(f"the image has too many {name.decode()} chunks")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    raise Unprocessable(f"the image has more than {MAX_CHUNKS} chunks")


class Jpeg(NamedTuple):
    """The segments of a JPEG, as `read_jpeg` sorts them."""

    data: bytes
    """The picture without its metadata, which Pillow would parse."""
    scans: int
    info: dict[str, bytes]
    """EXIF and XMP, which hold the orientation, under the names that Pillow uses."""


_SEGMENT = re.compile(rb"\xff[^\x00\xff]")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = (0xC0, 0xC1, 0xC2, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_TABLES = (0xC4, 0xCC, *range(0xDA, 0xE0))
_METADATA = (*range(0xE1, 0xEE), 0xEF, 0xFE)
_COLOURS = (0xE0, 0xEE)
_WITH_LENGTH = {0xC3, *_FRAMES, *_TABLES, *_METADATA, *_COLOURS}
_SCAN, _END = 0xDA, 0xD9


def read_jpeg(data: bytes) -> Jpeg:
    """Read a JPEG; raises Unprocessable for too many segments, TooLarge for too many scans."""
    kept, info = [data[:2]], dict[str, bytes]()
    at, whole, scans = 2, 0, 0
    for _ in range(MAX_SEGMENTS):
        found = (_AFTER_SCAN if scans else _SEGMENT).search(data, at)
        if found is None:
            break
        start, code, at = found.start(), data[found.start() + 1], found.end()
        if code in _WITH_LENGTH:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if scans == 0 and code in _METADATA:
            _keep_info(info, code, data[start + 4 : at])
        elif scans == 0:
            kept.append(data[start : None if code == _SCAN else at])
        if code in (0xC0, 0xC1):
            whole = _little(data, start + 9, 1)  # a scan of all these colours is the only scan
        if code == _SCAN:
            scans += 1
            if scans == 1 and whole == _little(data, start + 4, 1):
                break
            if scans > MAX_SCANS:
                raise TooLarge(f"the image has more than {MAX_SCANS} scans")
        elif code == _END and scans:
            break
    else:
        raise Unprocessable(f"the image has more than {MAX_SEGMENTS} segments")
    return Jpeg(b"".join(kept), scans, info)


def _keep_info(info: dict[str, bytes], code: int, content: bytes) -> None:
    if code == 0xE1 and content.startswith(b"Exif\0\0"):
        info.setdefault("exif", content)  # the first EXIF segment has the orientation
    elif code == 0xE1 and content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        info["xmp"] = content.partition(b"\0")[2]


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
