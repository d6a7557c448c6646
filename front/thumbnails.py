"""Thumbnails of indexed images, made when they are first asked for."""

import io
import threading
from pathlib import Path

from cachetools import LRUCache
from PIL import Image, ImageOps

from common.errors import NotFound

QUALITY = 80
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What is indexed; a file may have been replaced since, by one that runs another program."""


class Thumbnails:
    """Makes thumbnails, JPEG, and keeps those used last, up to a number of bytes."""

    def __init__(self, pixels: int, cache_bytes: int) -> None:
        """`pixels` is the length of a thumbnail's longer side."""
        self._pixels = pixels
        self._lock = threading.Lock()
        self._cache: LRUCache[str, bytes] = LRUCache(cache_bytes, getsizeof=len)

    def get(self, image_id: str) -> bytes | None:
        """The thumbnail of an image, if it is kept."""
        with self._lock:
            return self._cache.get(image_id)

    def make(self, image_id: str, path: Path) -> bytes:
        """Make the thumbnail of the file at `path`; raises NotFound when it cannot be read."""
        try:
            thumbnail = shrink(path, self._pixels)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise NotFound("the file of this image is gone or broken", "image_gone") from None
        with self._lock:
            if len(thumbnail) <= self._cache.maxsize:
                self._cache[image_id] = thumbnail
        return thumbnail


def shrink(path: Path, pixels: int) -> bytes:
    """The image at `path` as a JPEG whose longer side is `pixels`, upright, on white."""
    with Image.open(path, formats=FORMATS) as image:
        image.draft("RGB", (2 * pixels, 2 * pixels))
        upright = ImageOps.exif_transpose(image).convert("RGBA")  # palettes do not shrink well
        upright.thumbnail((pixels, pixels))
        flat = Image.new("RGB", upright.size, "white")
        flat.paste(upright, mask=upright)
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
