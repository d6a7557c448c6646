"""The first picture of a TIFF (TIFF 6.0), without what is told beside it."""

from typing import Literal, NamedTuple

from common.errors import TooLarge, Unprocessable, UnsupportedMedia
from common.images.formats import ImageFile
from common.images.orientation import exif_of

BIG = 43
"""In place of 42: a BigTIFF."""
MAX_ENTRIES = 4_000
MAX_VALUES = 2**18
"""Values of an entry: the places of so many strips or tiles."""
MAX_SAMPLES = 8
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value, by its type."""
WIDTH, HEIGHT, COMPRESSION, ORIENTATION, SAMPLES, PROFILE = 256, 257, 259, 274, 277, 34675
TILE_WIDTH, TILE_HEIGHT, SUBFILE, SUBDIRECTORIES, DNG_VERSION = 322, 323, 254, 330, 50706
PHOTOMETRIC = 262
SENSOR = (32803, 34892)
"""PhotometricInterpretation of what a camera's sensor saw."""
PICTURE = {
    *(WIDTH, HEIGHT, 258, COMPRESSION, PHOTOMETRIC, 266, 273, SAMPLES, 278, 279, 284, 292, 293),
    *(317, 320, TILE_WIDTH, TILE_HEIGHT, 324, 325, 332, 338, 339, 347, 529, 530, 531, 532),
}
"""The tags of the pixels. All others are not given to Pillow, which would read each, and follow
those that lead to more."""
READ = PICTURE | {SUBFILE, ORIENTATION, SUBDIRECTORIES, PROFILE, DNG_VERSION}
COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000}
"""None, CCITT's, LZW, JPEG, Deflate, PackBits and Zstandard: each takes memory for its pixels
alone. LZMA's is as large as its file says, and the old JPEG is no proper format."""


class Tag(NamedTuple):
    """An entry of a directory: its own bytes, the type of its values, and their bytes."""

    entry: bytes
    kind: int
    values: bytes


class Directory(NamedTuple):
    """The first directory of a TIFF."""

    order: Literal["little", "big"]
    large: bool
    """Whether it is a BigTIFF, whose places in the file have 8 bytes."""
    tags: dict[int, Tag]

    def number(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        found = self.tags.get(tag)
        return int.from_bytes(found.values[: SIZES[found.kind]], self.order) if found else default


def read_tiff(data: bytes, directory: Directory, max_pixels: int) -> ImageFile:
    """Read the picture of a directory; raises for what claims too much, or is not read."""
    width, height = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    tile = directory.number(TILE_WIDTH, 0) * directory.number(TILE_HEIGHT, 0)
    if max(width * height, tile) > max_pixels:
        raise TooLarge(f"the image has {width}x{height} pixels; {max_pixels} is the limit")
    if directory.number(SAMPLES, 1) > MAX_SAMPLES:
        raise Unprocessable(f"the image has more than {MAX_SAMPLES} numbers a pixel")
    if (packing := directory.number(COMPRESSION, 1)) not in COMPRESSIONS:
        raise UnsupportedMedia(f"a TIFF of compression {packing} is not read: save it with Deflate")
    info = {"exif": exif_of(directory.number(ORIENTATION, 1))}
    if profile := directory.tags.get(PROFILE):
        info["icc_profile"] = profile.values
    return ImageFile(_rewritten(data, directory), info=info)


def is_raw(directory: Directory) -> bool:
    """Whether a TIFF is a camera's RAW photo: its first picture is a thumbnail or a sensor's."""
    is_thumbnail = directory.number(SUBFILE, 0) & 1 and SUBDIRECTORIES in directory.tags
    is_sensor = directory.number(PHOTOMETRIC, 0) in SENSOR
    return DNG_VERSION in directory.tags or bool(is_thumbnail) or is_sensor


def read_directory(data: bytes) -> Directory:
    """Read the first directory of a TIFF; raises Unprocessable for a harmful or broken one."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    large = number(2, 2) == BIG
    wide = 8 if large else 4
    start = number(wide, wide)
    count, at = number(start, wide * wide // 8), start + wide * wide // 8
    if count > MAX_ENTRIES:
        raise Unprocessable(f"the image has more than {MAX_ENTRIES} tags")
    tags = dict[int, Tag]()
    for _ in range(count):
        tag, kind, values = number(at, 2), number(at + 2, 2), number(at + 4, wide)
        size = SIZES.get(kind, 0) * values
        place = at + 4 + wide if size <= wide else number(at + 4 + wide, wide)
        if tag in READ and size:
            if (values > MAX_VALUES and tag != PROFILE) or place + size > len(data):
                raise Unprocessable(f"the image is broken: tag {tag}")
            tags.setdefault(
                tag, Tag(data[at : at + 4 + 2 * wide], kind, data[place : place + size])
            )
        at += 4 + 2 * wide
    return Directory(order, large, tags)


def _rewritten(data: bytes, directory: Directory) -> bytes:
    """The file with a directory of `PICTURE` alone, behind all else, in place of its first."""
    kept = sorted((tag, found.entry) for tag, found in directory.tags.items() if tag in PICTURE)
    wide = 8 if directory.large else 4
    at = len(data) + len(data) % 2
    new = len(kept).to_bytes(wide * wide // 8, directory.order) + b"".join(raw for _, raw in kept)
    return b"".join(
        (
            data[:wide],
            at.to_bytes(wide, directory.order),
            data[2 * wide :],
            bytes(len(data) % 2),
            new,
            bytes(wide),
        )
    )
