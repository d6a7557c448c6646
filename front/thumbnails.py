"""Thumbnails of indexed images, made at the first request."""

import io
import os
import threading
from pathlib import Path

from cachetools import LRUCache
from PIL import Image

from common.errors import NotFound, ServiceError
from common.files import content_hash
from common.image_claims import format_of
from common.image_files import open_image, upright

QUALITY = 80
UNKNOWN = "application/octet-stream"


class Thumbnails:
    """Makes JPEG thumbnails and keeps the last used, up to a number of bytes."""

    def __init__(self, pixels: int, max_pixels: int, cache_bytes: int) -> None:
        """`pixels` is the longer side of a thumbnail, `max_pixels` the largest area of an image."""
        self._pixels = pixels
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(os.cpu_count() or 1)
        self._cache: LRUCache[str, bytes] = LRUCache(cache_bytes, getsizeof=len)

    def get(self, image_id: str) -> bytes | None:
        """The thumbnail of an image, if the cache has it."""
        with self._lock:
            return self._cache.get(image_id)

    def make(self, image_id: str, path: Path) -> bytes:
        """The thumbnail of the image at `path`; raises NotFound for a missing or broken file."""
        with self._slots:  # decoding takes memory: at most one image a core
            if kept := self.get(image_id):
                return kept
            try:
                thumbnail = shrink(read_image(image_id, path), self._pixels, self._max_pixels)
            except NotFound:
                raise
            except (ServiceError, OSError, ValueError, SyntaxError):
                raise NotFound("the file of this image is broken", "image_gone") from None
        with self._lock:
            if len(thumbnail) <= self._cache.maxsize:
                self._cache[image_id] = thumbnail
        return thumbnail


def read_image(image_id: str, path: Path) -> bytes:
    """The bytes of the file at `path`; raises NotFound if they are not those of the id."""
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError:
        data = b""
    if content_hash(data) != image_id[:16]:
        detail = "the file of this image is gone, or another since it was indexed"
        raise NotFound(detail, "image_gone")
    return data


def content_type_of(data: bytes) -> str:
    """The media type of an image, by its content: a name could make it a page with scripts."""
    kind = format_of(data)
    return f"image/{kind.lower()}" if kind else UNKNOWN


def shrink(data: bytes, pixels: int, max_pixels: int) -> bytes:
    """An image file as a JPEG whose longer side is `pixels`, upright, on white."""
    with open_image(data, max_pixels) as image:
        image.draft("RGB", (2 * pixels, 2 * pixels))
        image.load()
        whole = upright(image).convert("RGBA")  # colours of a palette cannot be averaged
        whole.thumbnail((pixels, pixels))
        flat = Image.new("RGB", whole.size, "white")
        flat.paste(whole, mask=whole)
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
