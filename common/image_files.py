"""Image files: opened by Pillow after a check of their headers, and turned upright."""

import io
import re
from typing import Literal

from PIL import Image, UnidentifiedImageError

from common.errors import TooLarge, Unprocessable, UnsupportedMedia
from common.image_claims import (
    SIGNATURES,
    Size,
    check_png,
    format_of,
    gif_size,
    read_jpeg,
    webp_size,
)

FORMATS = tuple(SIGNATURES)
MAX_SCANS = 20
"""Scans of a progressive JPEG with max_pixels: twice as many as cjpeg makes. A smaller JPEG may
have more. Each scan goes over all pixels, even with few bytes: 20 ms for 50 million pixels."""
MAX_RUN_PIXELS = 2**22
"""Pixels of a run-length encoded BMP. Pillow decodes it in Python: 0.4 s for a file of 10 kB."""

Image.MAX_IMAGE_PIXELS = None  # open_image checks its caller's limit instead


def open_image(data: bytes, max_pixels: int) -> Image.Image:
    """Open an image file of `FORMATS` after a check of its headers; no pixel is decoded yet.

    Raises UnsupportedMedia for another format, TooLarge for a file over a limit, and Unprocessable
    for a broken or harmful file.
    """
    info: dict[str, bytes] = {}
    scans = 0
    match format_of(data):
        case "GIF":
            _check_pixels(gif_size(data), max_pixels)
        case "WEBP":
            _check_pixels(webp_size(data), max_pixels)
        case "PNG":
            check_png(data)
        case "JPEG":
            data, scans, info = read_jpeg(data)
    image = _open(data)
    image.info.update(info)
    _check_pixels(image.size, max_pixels)
    _check_work(image, scans, max_pixels)
    return image


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedMedia(f"not an image we read ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise
    except Exception:  # Pillow's readers raise many kinds on a broken header
        raise Unprocessable("the image is broken") from None


def _check_pixels(size: Size | None, max_pixels: int) -> None:
    if size and size[0] * size[1] > max_pixels:
        raise TooLarge(f"the image has {size[0]}x{size[1]} pixels; {max_pixels} is the limit")


def _check_work(image: Image.Image, scans: int, max_pixels: int) -> None:
    """Raise TooLarge for an image of few bytes that takes seconds to decode."""
    pixels = image.width * image.height
    if scans * pixels > MAX_SCANS * max_pixels:
        raise TooLarge(f"the image has {scans} scans of {image.width}x{image.height} pixels")
    if image.format == "BMP" and image.info["compression"] in (1, 2) and pixels > MAX_RUN_PIXELS:
        raise TooLarge(f"a BMP in runs may have {MAX_RUN_PIXELS} pixels, this has {pixels}")


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


def _orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8: from EXIF, else from XMP, else 1."""
    exif, xmp = (image.info.get(name) for name in ("exif", "xmp"))
    if exif is None and (raw := image.info.get("Raw profile type exif")):  # ImageMagick's, in hex
        exif = bytes.fromhex("".join(raw.split("\n")[3:]))
    # A PNG may have a text named "exif"; its value is a str.
    turned = _turned(_EXIF_BEGINS.sub(b"", exif, count=1)) if isinstance(exif, bytes) else None
    if turned is None and isinstance(xmp, bytes) and (found := _IN_XMP.search(xmp)):
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
