"""Renditions of images, which are JPEGs for the page: how they are made, and kept on the disk."""

import contextlib
import io
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.files import temporary_of
from common.image_files import FileState
from common.images.decode import decode

QUALITY = 80
VERSION = 1
"""Increase this number if a rendition of any file would look otherwise: old ones are forgotten."""
PART = 16
"""A process looks at the whole folder when it has added this part of its limit."""

log = logging.getLogger(__name__)


def render(data: bytes, pixels: int, max_pixels: int) -> bytes:
    """An image file as a JPEG whose longer side is at most `pixels`; raises as `decode` does."""
    image = decode(data, max_pixels, at_least=2 * pixels)
    image.thumbnail((pixels, pixels))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


class _File(NamedTuple):
    used_ns: int
    size_bytes: int
    path: str


class RenditionFolder:
    """Renditions on the disk, of which those that were not used for longest are deleted.

    Several processes may share a folder. Each may add a `PART` of the limit before it looks what
    the others have added. A rendition has the modification time of the file that it was made of,
    so one of a file that has changed since is not found.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """With `max_bytes` of 0 nothing is kept."""
        self._folder = folder / f"v{VERSION}"
        self._max_bytes = max_bytes
        self._unseen_bytes = max_bytes  # so that the first one that is kept looks at all others
        self._lock = threading.Lock()
        self._is_told = False

    def get(self, image_id: str, pixels: int, made_of: FileState) -> bytes | None:
        """The rendition of an image whose file has the state `made_of`, if it is there."""
        if not self._max_bytes:
            return None
        path = self._path(image_id, pixels, made_of)
        try:
            if path.stat().st_mtime_ns != made_of.mtime_ns:
                return None
            jpeg = path.read_bytes()
            os.utime(path, ns=(time.time_ns(), made_of.mtime_ns))
        except OSError:
            return None
        is_whole = jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9")
        return jpeg if is_whole else None

    def put(self, image_id: str, pixels: int, made_of: FileState, jpeg: bytes) -> None:
        """Keep a rendition. A disk that takes none is told once in the log."""
        if not self._max_bytes:
            return
        path = self._path(image_id, pixels, made_of)
        temporary = temporary_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(jpeg)
            os.utime(temporary, ns=(time.time_ns(), made_of.mtime_ns))
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if not self._is_told:
                log.warning("no rendition is kept in %s: %s", self._folder, error.strerror)
            self._is_told = True
            return
        self._count(len(jpeg))

    def _path(self, image_id: str, pixels: int, made_of: FileState) -> Path:
        return self._folder / image_id[:2] / f"{image_id}-{pixels}-{made_of.size_bytes}.jpg"

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self._unseen_bytes += size_bytes
            if self._unseen_bytes * PART < self._max_bytes:
                return
            self._unseen_bytes = 0
        self._trim()

    def _trim(self) -> None:
        """Delete those that were not used for longest, so that all processes may add their part."""
        files = list(self._files())
        size_bytes = sum(file.size_bytes for file in files)
        if size_bytes <= self._max_bytes:
            return
        for file in sorted(files):
            if size_bytes <= self._max_bytes - 2 * self._max_bytes // PART:
                break
            with contextlib.suppress(OSError):
                os.unlink(file.path)  # noqa: PTH108 many names, which are text already
            size_bytes -= file.size_bytes

    def _files(self) -> Iterator[_File]:
        with contextlib.suppress(OSError):
            for folder in os.scandir(self._folder):
                with os.scandir(folder.path) as entries:
                    for entry in entries:
                        with contextlib.suppress(OSError):  # another process has deleted it
                            status = entry.stat()
                            yield _File(status.st_atime_ns, status.st_size, entry.path)
