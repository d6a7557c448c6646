"""The decoding of an image file in this thread, behind the checks of its headers."""

import io
from collections.abc import Collection
from itertools import islice, repeat
from typing import NamedTuple

import pillow_heif
from PIL import AvifImagePlugin, Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from common.errors import BadRequest, ServiceError, TooLarge, Unprocessable, UnsupportedMedia
from common.images.canvas import gif_sizes, webp_size
from common.images.colours import in_8_bits, plain
from common.images.formats import FORMATS, ImageFile, Size, format_of
from common.images.heif import read_heif
from common.images.jpeg import read_jpeg
from common.images.jpeg2000 import read_jpeg2000
from common.images.orientation import upright
from common.images.png import read_png
from common.images.raw import embedded_jpeg
from common.images.tiff import is_raw, read_directory, read_tiff

MAX_ASPECT = 20
MAX_SCANS = 20
"""Scans of a progressive JPEG with max_pixels: twice as many as cjpeg makes. A smaller JPEG may
have more. Each scan goes over all pixels, even with few bytes: 20 ms for 50 million pixels."""
MAX_RUN_PIXELS = 2**22
"""Pixels of a run-length encoded BMP. Pillow decodes it in Python: 0.4 s for a file of 10 kB."""
MAX_SCALED = 4
"""A JPEG may have this many times max_pixels if it is decoded smaller. With the default that is
200 megapixels, which no phone's camera exceeds. Its blocks take time, and no memory."""
SCALES = (8, 4, 2, 1)
"""libjpeg decodes a JPEG at one of these parts of its width and height."""
_PILLOWS = tuple(name for name in FORMATS if name != "RAW")
MAX_FRAMES = 10
"""Frames of an animation that are looked at for one that is not blank."""

Image.MAX_IMAGE_PIXELS = None  # decode checks its caller's limit instead
# Each caller has threads of its own for images.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.register_heif_opener(
    thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
)


class Opened(NamedTuple):
    """An image file whose headers were checked, not decoded yet."""

    file: ImageFile
    image: Image.Image
    cost: float
    """What decoding takes, as a number of pixels of a PNG: 10 ns of CPU each."""


def decode_here(
    data: bytes,
    kind: str,
    max_pixels: int,
    at_least: int = 0,
    as_shown: bool = True,
) -> Image.Image:
    """Decode an image file of a kind in this thread; as `decode.decode`."""
    return decode_opened(open_checked(data, kind, max_pixels, at_least), max_pixels, as_shown)


def open_checked(data: bytes, kind: str, max_pixels: int, at_least: int) -> Opened:
    """Check the headers of an image file; raises as `decode.decode`."""
    try:
        file = _checked(data, kind, max_pixels, at_least)
        image = Image.open(io.BytesIO(file.data), formats=_PILLOWS)
    except (ServiceError, MemoryError):
        raise
    except Exception:  # our readers and Pillow's raise many types for a broken header
        raise Unprocessable("the image is broken") from None
    _check_shape(image, file, max_pixels)
    whole = image.size
    _scale(image, file, max_pixels, at_least)
    width, height = image.size if file.scales else whole
    return Opened(file, image, width * height * _times(image, file))


def decode_opened(opened: Opened, max_pixels: int, as_shown: bool) -> Image.Image:
    """Decode what was opened in this thread; as `decode.decode`."""
    file, image, _ = opened
    try:
        image.load()
        image.info.update(file.info)  # not before: Pillow turns a TIFF by itself
        shown = plain(upright(image)) if as_shown else in_8_bits(upright(image))
    except MemoryError:
        raise
    except Exception:  # Pillow's decoders raise many types
        raise Unprocessable("the image is truncated or broken") from None
    if as_shown and _is_blank(shown):
        first = shown.copy()  # the later ones may be decoded in its place
        shown = _later_frame(image, file.data, max_pixels) or first
    shown.info = {}  # whoever saves it saves no metadata with it
    return shown


def _times(image: Image.Image, file: ImageFile) -> float:
    """How many times the pixels of a PNG it takes to decode a pixel of this image."""
    if _is_in_runs(image):
        return 20
    # Pillow reads all of a GIF to say whether it is animated.
    frames = MAX_FRAMES if image.format == "GIF" or getattr(image, "is_animated", False) else 1
    return frames + file.scans / 25


def kind_of(data: bytes, formats: Collection[str]) -> str:
    """The format of a file, by its content; raises UnsupportedMedia if it is none of `formats`."""
    kind = format_of(data)
    if kind == "TIFF" and is_raw(read_directory(data)):
        kind = "RAW"
    if kind is None or kind not in formats:
        raise UnsupportedMedia(f"not an image in a format that is read ({', '.join(formats)})")
    return kind


def _checked(data: bytes, kind: str, max_pixels: int, at_least: int) -> ImageFile:
    """The file as Pillow may have it; raises for what claims too much."""
    match kind:
        case "JPEG":
            return read_jpeg(data)
        case "PNG":
            return read_png(data)
        case "GIF":
            _check_pixels(next(gif_sizes(data), (0, 0)), max_pixels)
        case "WEBP":
            _check_pixels(webp_size(data) or (0, 0), max_pixels)
        case "AVIF" | "HEIF":
            return read_heif(data, max_pixels)
        case "JPEG2000":
            return read_jpeg2000(data, max_pixels, at_least)
        case "RAW":
            return _read_raw(data)
        case "TIFF":
            return read_tiff(data, read_directory(data), max_pixels)
    return ImageFile(data)


def _read_raw(data: bytes) -> ImageFile:
    jpeg, exif = embedded_jpeg(data)
    file = read_jpeg(jpeg)
    return file._replace(info={"exif": exif, **file.info})


def _check_pixels(size: Size, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise TooLarge(f"the image has {size[0]}x{size[1]} pixels; {max_pixels} is the limit")


def _check_shape(image: Image.Image, file: ImageFile, max_pixels: int) -> None:
    """Raise for too many pixels, an extreme shape, and few bytes that take seconds to decode."""
    width, height = image.size
    is_scaled = file.scales or file.halvings
    _check_pixels(image.size, MAX_SCALED * max_pixels if is_scaled else max_pixels)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadRequest(f"the image is {width}x{height}; {MAX_ASPECT}:1 is the limit")
    if file.scans * width * height > MAX_SCANS * max_pixels:
        raise TooLarge(f"the image has {file.scans} scans of {width}x{height} pixels")
    if _is_in_runs(image) and width * height > MAX_RUN_PIXELS:
        raise TooLarge(f"a BMP in runs may have {MAX_RUN_PIXELS} pixels, this is {width}x{height}")


def _is_in_runs(image: Image.Image) -> bool:
    """Whether it is a run-length encoded BMP."""
    return image.format == "BMP" and image.info["compression"] in (1, 2)


def _scale(image: Image.Image, file: ImageFile, max_pixels: int, at_least: int) -> None:
    """Have a JPEG decoded no larger than is needed, nor than an image may be."""
    if isinstance(image, Jpeg2KImageFile):
        image.reduce = file.halvings
    if image.format != "JPEG":
        return
    width, height = image.size
    scale = next((n for n in SCALES if at_least and n * at_least <= min(image.size)), 1)
    while -(-width // scale) * -(-height // scale) > max_pixels:
        scale *= 2
    image.draft(None, (max(1, width // scale), max(1, height // scale)))


def _is_blank(image: Image.Image) -> bool:
    """Whether an image has one colour alone."""
    return image.getcolors(1) is not None


def _later_frame(image: Image.Image, data: bytes, max_pixels: int) -> Image.Image | None:
    """The first frame after the first that is not blank, as shown; None if there is none.

    Together the frames that are looked at have no more pixels than one image may have. A frame
    that is broken, or for which the canvas would have to grow, ends the search.
    """
    most = min(MAX_FRAMES, max_pixels // (image.width * image.height))
    sizes = gif_sizes(data) if image.format == "GIF" else repeat(image.size)
    try:
        for number, size in enumerate(islice(sizes, 1, most), 1):
            if size != image.size:
                break
            image.seek(number)
            image.load()
            if not _is_blank(shown := plain(upright(image))):
                return shown
    except MemoryError:
        raise
    except Exception:  # Pillow's decoders raise many types; EOFError after the last frame
        return None
    return None
