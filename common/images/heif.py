"""The boxes of a HEIF file, which is AVIF or HEIC, checked before a decoder takes memory for them.

The container is ISO/IEC 14496-12 and 23008-12. What it says of a picture's size binds no decoder,
so the headers of the coded pictures are read too (`common/images/codecs.py`).
"""

from collections.abc import Collection, Iterator

from common.errors import TooLarge, Unprocessable
from common.images.boxes import Box, big_endian, boxes
from common.images.codecs import av1_size, hevc_sizes
from common.images.formats import ImageFile, Size

MAX_ITEMS = 4_000
"""Items of a file. A phone's photo has 50 to 100: its tiles, a thumbnail, a map of depth."""
PICTURES = (b"av01", b"hvc1", b"grid")
"""The items that are left to a decoder. All others are hidden from it: EXIF, which it would parse
though the picture's turn is told elsewhere, texts, overlays, and other codecs."""


def read_heif(data: bytes, max_pixels: int) -> ImageFile:
    """Read the headers of an AVIF or HEIC file, of which only the still picture is left.

    Raises TooLarge for a picture over the limit, and Unprocessable for a file without a proper one.
    """
    meta = next((box for box in boxes(data, 0, len(data)) if box.kind == b"meta"), None)
    if meta is None:
        raise Unprocessable("the image is a film, or has no proper index of its pictures")
    parts = {box.kind: box for box in boxes(data, meta.start + 4, meta.end)}
    changed = bytearray(data)
    changed[8:12] = changed[8:12].replace(b"avis", b"avif")  # the still picture, not the film
    kinds = dict[int, bytes]()
    for number, kind, at in _items(data, parts.get(b"iinf")):
        kinds[number] = kind
        if kind not in PICTURES:
            changed[at : at + 4] = b"none"
    sizes = list(_sizes(data, parts, kinds))
    for width, height in sizes:
        if width * height > max_pixels:
            raise TooLarge(f"the image has {width}x{height} pixels; {max_pixels} is the limit")
    if not sizes:
        raise Unprocessable("the image has no picture that we read")
    return ImageFile(bytes(changed))


def exif_of_heif(data: bytes) -> bytes:
    """The EXIF of an AVIF or HEIC file, empty if it has none; raises Unprocessable."""
    meta = next((box for box in boxes(data, 0, len(data)) if box.kind == b"meta"), None)
    if meta is None:
        return b""
    parts = {box.kind: box for box in boxes(data, meta.start + 4, meta.end)}
    kinds = {number: kind for number, kind, _ in _items(data, parts.get(b"iinf"))}
    for _, content in _contents(data, parts, kinds, (b"Exif",)):
        return content[4 + big_endian(content, 0, 4) :]  # ISO/IEC 23008-12, A.2.1
    return b""


def _items(data: bytes, box: Box | None) -> Iterator[tuple[int, bytes, int]]:
    """The items of an `iinf` box: number, type, and where the type stands."""
    if box is None:
        return
    head = 8 if big_endian(data, box.start, 1) else 6
    for count, info in enumerate(boxes(data, box.start + head, box.end)):
        if count == MAX_ITEMS:
            raise Unprocessable(f"the image has more than {MAX_ITEMS} items")
        wide = 4 if data[info.start : info.start + 1] == b"\3" else 2
        at = info.start + 4 + wide + 2
        yield big_endian(data, info.start + 4, wide), data[at : at + 4], at


def _sizes(data: bytes, parts: dict[bytes, Box], kinds: dict[int, bytes]) -> Iterator[Size]:
    """Every size that a decoder may take memory for."""
    properties = parts.get(b"iprp")
    found = list(boxes(data, properties.start, properties.end)) if properties else []
    for container in (box for box in found if box.kind == b"ipco"):
        for box in boxes(data, container.start, container.end):
            if box.kind == b"ispe":
                yield big_endian(data, box.start + 4, 4), big_endian(data, box.start + 8, 4)
            elif box.kind == b"hvcC":
                yield from hevc_sizes(_of_configuration(data[box.start : box.end]))
    coded = list[Size]()
    tiles = 1
    for kind, content in _contents(data, parts, kinds):
        if kind == b"av01":
            coded += filter(None, [av1_size(content)])
        elif kind == b"hvc1":
            coded += hevc_sizes(_of_lengths(content))
        elif kind == b"grid" and len(content) >= 8:
            tiles = max(tiles, (content[2] + 1) * (content[3] + 1))
            wide = 4 if content[1] & 1 else 2
            yield big_endian(content, 4, wide), big_endian(content, 4 + wide, wide)
    yield from coded
    if tiles > 1 and coded:  # each tile is decoded, also what the grid has no place for
        largest = max(width * height for width, height in coded)
        yield tiles * largest // 4, 1


def _contents(
    data: bytes,
    parts: dict[bytes, Box],
    kinds: dict[int, bytes],
    wanted: Collection[bytes] = PICTURES,
) -> Iterator[tuple[bytes, bytes]]:
    """The type and the content of each item of the `wanted` types that an `iloc` box places."""
    box = parts.get(b"iloc")
    if box is None:
        return
    version, sizes = big_endian(data, box.start, 1), big_endian(data, box.start + 4, 2)
    at = box.start + 6
    offset_size, length_size, base_size = (sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15)
    index_size = sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = big_endian(data, at, wide), at + wide
    left = 2 * len(data)  # items that are many and share their bytes end the search
    for _ in range(min(count, MAX_ITEMS)):
        number, at = big_endian(data, at, wide), at + wide
        method = big_endian(data, at, 2) & 15 if version else 0
        at += 4 if version else 2  # after the method and the reference to another file
        base, at = big_endian(data, at, base_size), at + base_size
        extents, at = big_endian(data, at, 2), at + 2
        pieces = []
        inside = parts.get(b"idat")
        start = inside.start if method == 1 and inside else 0
        for _ in range(min(extents, 64)):
            at += index_size
            offset, at = big_endian(data, at, offset_size), at + offset_size
            length, at = big_endian(data, at, length_size), at + length_size
            begin = start + base + offset
            pieces.append(data[begin : begin + length if length else len(data)])
            left -= len(pieces[-1])
            if left < 0:
                raise Unprocessable("the image is broken: its pictures share their bytes")
        if kinds.get(number) in wanted:
            yield kinds[number], b"".join(pieces)


def _of_configuration(content: bytes) -> Iterator[bytes]:
    """The NAL units in an `hvcC` box."""
    at = 23
    for _ in range(content[22] if len(content) > 22 else 0):
        count, at = big_endian(content, at + 1, 2), at + 3
        for _ in range(count):
            length = big_endian(content, at, 2)
            yield content[at + 2 : at + 2 + length]
            at += 2 + length
            if at >= len(content):
                return


def _of_lengths(content: bytes) -> Iterator[bytes]:
    """The NAL units of a coded picture, each after its length."""
    at = 0
    while at + 4 < len(content):
        length = big_endian(content, at, 4)
        yield content[at + 4 : at + 4 + min(length, 1000)]
        at += 4 + length
