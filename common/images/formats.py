"""The formats of image files: how a file begins, how its name ends, what it is sent as."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

Size = tuple[int, int]
"""Width and height, in pixels."""


class Format(NamedTuple):
    """A format of image files."""

    begins: re.Pattern[bytes]
    endings: tuple[str, ...]
    media_type: str


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


FORMATS = {
    "JPEG": Format(
        _begins(rb"\xff\xd8\xff"), (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "image/jpeg"
    ),
    "PNG": Format(_begins(rb"\x89PNG\r\n\x1a\n"), (".png", ".apng"), "image/png"),
    "WEBP": Format(_begins(rb"RIFF.{4}WEBPVP8[ XL]"), (".webp",), "image/webp"),
    "GIF": Format(_begins(rb"GIF8[79]a"), (".gif",), "image/gif"),
    # "BM" alone begins texts, too; the size of the second header is one of seven
    "BMP": Format(_begins(rb"BM.{12}[\x0c(48@l|]\0{3}"), (".bmp", ".dib"), "image/bmp"),
    "RAW": Format(
        _begins(rb"II\*\0.{4}CR|IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW|.{4}ftypcrx "),
        (".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
        "image/x-raw",
    ),
    "TIFF": Format(_begins(rb"II[*+]\0|MM\0[*+]"), (".tif", ".tiff"), "image/tiff"),
    "AVIF": Format(
        _begins(rb".{4}ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4}){0,15}?avi[fs])"),
        (".avif",),
        "image/avif",
    ),
    "HEIF": Format(
        _begins(rb".{4}ftyp(?:hei[cxms]|mif1)"), (".heic", ".heif", ".hif"), "image/heic"
    ),
    "JPEG2000": Format(
        _begins(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        (".jp2", ".j2k", ".jpf", ".jpx"),
        "image/jp2",
    ),
}
"""Every format, by its name in Pillow; Pillow does not know RAW. An MPO is a JPEG with more JPEGs
behind it. NEF, ARW and DNG begin as a TIFF does, and are told apart by their first directory."""
ENDINGS = frozenset(ending for known in FORMATS.values() for ending in known.endings)
"""The endings by which prepare knows an image file in a folder, in lower case. Other files there
are known by their first bytes."""
HEAD_BYTES = 128
"""As many bytes of a file as `format_of` looks at, and more."""


class ImageFile(NamedTuple):
    """An image file whose headers were checked."""

    data: bytes
    """The picture, without those of its neighbours in the file that Pillow would parse."""
    info: Mapping[str, bytes] = MappingProxyType({})
    """`exif`, `xmp` and `icc_profile`, as far as they were taken out of the file."""
    scans: int = 0
    """Scans of a JPEG."""
    halvings: int = 0
    """How often a JPEG 2000 is decoded at half its size."""
    scales: bool = False
    """Whether a JPEG that is decoded smaller takes no memory for its full size."""


def format_of(data: bytes) -> str | None:
    """The format of a file by its first bytes; None for any other format."""
    return next((name for name, known in FORMATS.items() if known.begins.match(data)), None)
