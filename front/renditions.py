"""Thumbnails and previews of indexed images, made at the first request."""

import threading
from pathlib import Path
from typing import NamedTuple

from cachetools import LRUCache

from common.cores import usable_cores
from common.errors import Gone, ServiceError
from common.files import content_hash
from common.image_files import FileState, read_image_file, state_of
from common.images.formats import FORMATS, format_of
from common.images.renditions import RenditionFolder, render

UNKNOWN = "application/octet-stream"


class Kept(NamedTuple):
    """A rendition, and the file that it was made of as it was then."""

    jpeg: bytes
    path: Path
    state: FileState


class Renditions:
    """Makes renditions, and keeps the last used in memory and in a folder."""

    def __init__(self, max_pixels: int, cache_bytes: int, folder: RenditionFolder) -> None:
        """`max_pixels` is the largest area of an image, `cache_bytes` the limit in memory."""
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(usable_cores())
        self._cache: LRUCache[str, Kept] = LRUCache(cache_bytes, lambda kept: len(kept.jpeg))
        self._folder = folder

    def get(self, image_id: str, pixels: int) -> bytes | None:
        """The rendition of an image, if it is in memory and the file is as it was."""
        with self._lock:
            kept = self._cache.get(f"{image_id}-{pixels}")
        try:
            return kept.jpeg if kept and state_of(kept.path) == kept.state else None
        except OSError:
            return None

    def make(self, image_id: str, pixels: int, path: Path) -> bytes:
        """The rendition of the image at `path`, from the folder or new.

        `pixels` is its longer side. Raises Gone for a missing or broken file.
        """
        try:
            state = state_of(path)
        except OSError:
            raise Gone(GONE) from None
        jpeg = self._folder.get(image_id, pixels, state)
        if jpeg is None:
            with self._slots:  # decoding takes memory: at most one image a core
                jpeg = self.get(image_id, pixels) or self._render(image_id, pixels, path)
            self._folder.put(image_id, pixels, state, jpeg)
        with self._lock:
            if len(jpeg) <= self._cache.maxsize:
                self._cache[f"{image_id}-{pixels}"] = Kept(jpeg, path, state)
        return jpeg

    def _render(self, image_id: str, pixels: int, path: Path) -> bytes:
        data = read_image(image_id, path)
        try:
            return render(data, pixels, self._max_pixels)
        except (ServiceError, OSError, ValueError):
            raise Gone("the file of this image is broken") from None


GONE = "the file of this image is gone, or another since it was indexed"


def read_image(image_id: str, path: Path) -> bytes:
    """The bytes of the file at `path`; raises Gone if they are not those of the id.

    A link is followed: prepare may have followed it, and only what was indexed is ever given.
    """
    try:
        data = read_image_file(path)
    except OSError:
        data = b""
    if content_hash(data) != image_id[:16]:
        raise Gone(GONE)
    return data


def content_type_of(data: bytes) -> str:
    """The media type of an image, by its content: a name could make it a page with scripts."""
    kind = format_of(data)
    return FORMATS[kind].media_type if kind else UNKNOWN
