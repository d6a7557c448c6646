"""The chunks of a PNG: those of the picture, and what is told about it beside them."""

import zlib

from common.errors import Unprocessable
from common.images.formats import ImageFile

SMALL_CHUNKS = 10_000
"""Chunks of any size, such as one for each row. Going over them takes 8 ms."""
CHUNK_BYTES = 4096
"""A PNG may have a chunk more for so many bytes of it; libpng writes 8 kB a chunk."""
MAX_UNPACKED = 4 * 2**20
"""Bytes of a packed profile or text. The largest profiles in use, of printers, have 3 MB."""
PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
"""All else is not given to Pillow: it would unpack each text, and refuse the file for a bad one."""
_XMP = b"XML:com.adobe.xmp"
_RAW_EXIF = b"Raw profile type exif"


def read_png(data: bytes) -> ImageFile:
    """Read a PNG; raises Unprocessable for too many chunks."""
    whole, kept, info = memoryview(data), [memoryview(data)[:8]], dict[str, bytes]()
    at, most = 8, SMALL_CHUNKS + len(data) // CHUNK_BYTES
    for _ in range(most):
        name = data[at + 4 : at + 8]
        if len(name) < 4:
            break
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if name in PICTURE:
            kept.append(whole[at:end])
        elif name in _TOLD:
            _TOLD[name](info, data[at + 8 : end - 4])
        at = end
    else:
        raise Unprocessable(f"the image has more than {most} chunks")
    return ImageFile(b"".join(kept), info=info)


def _profile(info: dict[str, bytes], content: bytes) -> None:
    packed = content.partition(b"\0")[2][1:]
    if "icc_profile" not in info and packed:
        info["icc_profile"] = _unpacked(packed)


def _exif(info: dict[str, bytes], content: bytes) -> None:
    info["exif"] = content


def _text(info: dict[str, bytes], content: bytes) -> None:
    name, _, text = content.partition(b"\0")
    if name == _RAW_EXIF:
        _imagemagick(info, text)


def _packed_text(info: dict[str, bytes], content: bytes) -> None:
    name, _, packed = content.partition(b"\0")
    if name == _RAW_EXIF and "exif" not in info:  # of many, only the first is unpacked
        _imagemagick(info, _unpacked(packed[1:]))


def _international_text(info: dict[str, bytes], content: bytes) -> None:
    name, _, rest = content.partition(b"\0")
    if name == _XMP and "xmp" not in info and len(rest) > 2:
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # after language and translation
        info["xmp"] = _unpacked(text) if rest[0] else text


def _imagemagick(info: dict[str, bytes], text: bytes) -> None:
    """EXIF as ImageMagick writes it: a line of its name, one of its length, then lines of hex."""
    try:
        exif = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        exif = b""
    info.setdefault("exif", exif)


def _unpacked(packed: bytes) -> bytes:
    """What was packed, cut at `MAX_UNPACKED`; nothing if it is broken."""
    try:
        return zlib.decompressobj().decompress(packed, MAX_UNPACKED)
    except zlib.error:
        return b""


_TOLD = {
    b"iCCP": _profile,
    b"eXIf": _exif,
    b"tEXt": _text,
    b"zTXt": _packed_text,
    b"iTXt": _international_text,
}
