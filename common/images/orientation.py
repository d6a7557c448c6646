"""The way up of an image, as EXIF or XMP tells it."""

import re
import struct

from PIL import Image

from common.images.exif import Exif

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
    turned = _turned(exif) if exif else None
    if turned is None and xmp and (found := _IN_XMP.search(xmp)):
        return int(found[1])
    return turned or 1


def _turned(data: bytes) -> int | None:
    """The orientation in the first directory of EXIF, else None."""
    exif = Exif(data)
    found = (entry for entry in exif.first() if entry.tag == 0x0112 and entry.values == 1)
    return next(map(exif.number, found), None)
