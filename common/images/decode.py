"""The one reader of image files: what is embedded is what thumbnails, previews and hashes show."""

from collections.abc import Collection

from PIL import Image

from common.images.child_decoder import decode_in_child
from common.images.formats import FORMATS
from common.images.thread_decoder import decode_opened, kind_of, open_checked

JUDGED = {"JPEG", "PNG", "WEBP", "GIF", "BMP"}
"""Formats whose headers bound what decoding takes. Others are decoded in a child process."""
MAX_COST = 12_000_000
"""What is decoded in a thread, in pixels of a PNG: 0.1 s of CPU. A photo of a phone is, as a JPEG
is decoded no larger than needed. What takes longer is decoded in a child process, too: the system
lets others have the CPU first."""


def decode(
    data: bytes,
    max_pixels: int,
    at_least: int = 0,
    *,
    as_shown: bool = True,
    formats: Collection[str] = FORMATS,
) -> Image.Image:
    """Decode an image file, upright: RGB, or L if it is grey, as a browser shows it.

    Of an animation it is the first frame that is not of one colour, else the first. With
    `at_least`, a JPEG may be decoded smaller, but its shorter side keeps at least that many
    pixels. `as_shown=False` gives what open_clip sees: the first frame in one of `MODES`, with
    neither its transparency nor its colour profile applied.

    Raises UnsupportedMedia for a file of none of the `formats`, TooLarge for a file over a limit,
    BadRequest for an extreme aspect ratio, and Unprocessable for a broken or harmful file.
    """
    kind = kind_of(data, formats)
    if kind in JUDGED:
        opened = open_checked(data, kind, max_pixels, at_least)
        if opened.cost <= MAX_COST:
            return decode_opened(opened, max_pixels, as_shown)
    return decode_in_child(data, kind, max_pixels, at_least, as_shown)
