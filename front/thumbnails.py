"""Thumbnails of indexed images, made at the first request."""

import io
import os
import threading
from pathlib import Path
from typing import NamedTuple

from cachetools import LRUCache

from common.errors import Gone, ServiceError
from common.files import content_hash, stamp_of
from common.images.decode import decode
from common.images.formats import FORMATS, format_of

QUALITY = 80
UNKNOWN = "application/octet-stream"


class Kept(NamedTuple):
    """A thumbnail, and the file that it was made of as it was then."""

    jpeg: bytes
    path: Path
    stamp: tuple[int, int]


class Thumbnails:
    """Makes JPEG thumbnails and keeps the last used, up to a number of bytes."""

    def __init__(self, pixels: int, max_pixels: int, cache_bytes: int) -> None:
        """`pixels` is the longer side of a thumbnail, `max_pixels` the largest area of an image."""
        self._pixels = pixels
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(os.cpu_count() or 1)
        self._cache: LRUCache[str, Kept] = LRUCache(cache_bytes, lambda kept: len(kept.jpeg))

    def get(self, image_id: str) -> bytes | None:
        """The thumbnail of an image, if the cache has it and the file is as it was."""
        with self._lock:
            kept = self._cache.get(image_id)
        return kept.jpeg if kept and stamp_of(kept.path) == kept.stamp else None

    def make(self, image_id: str, path: Path) -> bytes:
        """The thumbnail of the image at `path`; raises Gone for a missing or broken file."""
        with self._slots:  # decoding takes memory: at most one image a core
            if jpeg := self.get(image_id):
                return jpeg
            stamp = stamp_of(path)
            try:
                jpeg = shrink(read_image(image_id, path), self._pixels, self._max_pixels)
            except Gone:
                raise
            except (ServiceError, OSError, ValueError):
                raise Gone("the file of this image is broken") from None
        with self._lock:
            if len(jpeg) <= self._cache.maxsize:
                self._cache[image_id] = Kept(jpeg, path, stamp)
        return jpeg


def read_image(image_id: str, path: Path) -> bytes:
    """The bytes of the file at `path`; raises Gone if they are not those of the id."""
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError:
        data = b""
    if content_hash(data) != image_id[:16]:
        raise Gone("the file of this image is gone, or another since it was indexed")
    return data


def content_type_of(data: bytes) -> str:
    """The media type of an image, by its content: a name could make it a page with scripts."""
    kind = format_of(data)
    return FORMATS[kind].media_type if kind else UNKNOWN


def shrink(data: bytes, pixels: int, max_pixels: int) -> bytes:
    """An image file as a JPEG whose longer side is at most `pixels`; raises as `decode` does."""
    image = decode(data, max_pixels, at_least=2 * pixels)
    image.thumbnail((pixels, pixels))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
