"""The way up of an image, as EXIF or XMP tells it."""

import re
import struct
from typing import Literal

from PIL import Image

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turn that undoes each orientation, from the EXIF standard (CIPA DC-008, 4.6.4)."""
_EXIF_BEGINS = re.compile(rb"^(?:Exif\0\0){1,2}")
_IN_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")


def upright(image: Image.Image) -> Image.Image:
    """A decoded image, turned upright. Pillow's exif_transpose would parse all of the metadata."""
    method = UPRIGHT.get(_orientation(image))
    return image if method is None else image.transpose(method)


def exif_of(orientation: int) -> bytes:
    """EXIF that tells nothing but an orientation."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation & 0xFFFF, 0, 0)


def _orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8: from EXIF, else from XMP, else 1."""
    exif, xmp = (image.info.get(name) for name in ("exif", "xmp"))
    turned = _turned(_EXIF_BEGINS.sub(b"", exif, count=1)) if exif else None
    if turned is None and xmp and (found := _IN_XMP.search(xmp)):
        return int(found[1])
    return turned or 1


def _turned(tiff: bytes) -> int | None:
    """The orientation in the first directory of EXIF (TIFF 6.0, pages 13 to 16), else None."""
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II*\0") else "big"
    if order == "big" and not tiff.startswith(b"MM\0*"):
        return None

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    start = number(4, 4)
    for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        if number(entry, 2) == 0x0112 and number(entry + 4, 4) == 1:
            return number(entry + 8, {3: 2, 4: 4}.get(number(entry + 2, 2), 0))
    return None
