"""The folder of uploads: the files of images that are put without a path of their own.

Such a file has the name of its content, so an image that is put again is the same image. Servers of
several machines may use the folder at the same time, without a lock: whoever deletes an image sets
its file aside first, and whoever puts one looks last whether its file is still there. So what a
search finds has its file, in whichever order the log has the two.
"""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from common.config import Config
from common.errors import ServiceError, Unavailable, UnsupportedMedia
from common.files import absolute_name, content_hash, location_hash, name_of, replace_bytes
from common.images.facts import facts_of, facts_of_file
from common.images.formats import FORMATS, format_of
from common.roots import folders_of_roots, is_in

ID = re.compile("[0-9a-f]{32}")
ASIDE = ".deleted"
"""At the end of the name of an upload while its image is deleted."""

log = logging.getLogger(__name__)


class Placed(NamedTuple):
    """An image file and its place, as a record of the index has it."""

    data: bytes
    path: str
    told_from: int
    facts: dict[str, str | int]
    """What filters can test of the file: as `Record.facts`."""
    is_upload: bool = False
    is_new: bool = False
    """Whether the upload was not there before."""


def placed(data: bytes, path: str, folder: str, root: Path) -> Placed:
    """A file at an absolute path in a folder of the collection; `root` is that of config.json."""
    name = name_of(path, root)
    told_from = len(folder) - len(os.path.basename(folder)) if name.startswith("/") else 0
    facts = facts_of_file(len(data), Path(path).stat().st_mtime_ns) | facts_of(data)
    return Placed(data, name, told_from, facts)


class Uploads:
    """Keeps the files of uploads and deletes them; any thread and event loop may use it."""

    def __init__(self, config: Config, root: Path) -> None:
        """`root` is the folder of config.json."""
        self.folder = Path(absolute_name(root / config.live.upload_dir))
        self._root = root
        self._prepare = config.prepare

    def keep(self, data: bytes) -> Placed:
        """Keep the file of an image; raises UnsupportedMedia, Unavailable."""
        kind = format_of(data)
        if kind is None:
            raise UnsupportedMedia(f"not an image in a format that is read ({', '.join(FORMATS)})")
        content = content_hash(data)
        path = self.folder / f"{content}{FORMATS[kind].endings[0]}"
        try:
            is_there = path.is_file() and content_hash(path.read_bytes()) == content
            if not is_there:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_bytes(path, data)
            found = placed(data, str(path), str(self.folder), self._root)
        except OSError as error:
            log.error("Live.upload-dir: %s", error)
            raise Unavailable("the folder of uploads cannot take the image now") from None
        return found._replace(is_upload=True, is_new=not is_there)

    @asynccontextmanager
    async def putting(self, image: Placed) -> AsyncIterator[None]:
        """While an image is put: an upload that is new goes if the image is refused."""
        path = self._root / image.path
        try:
            yield
        except ServiceError as error:
            if image.is_new and not isinstance(error, Unavailable):
                await asyncio.to_thread(_remove, path)
            raise
        if image.is_upload and not await asyncio.to_thread(path.is_file):
            await asyncio.to_thread(self.keep, image.data)

    @asynccontextmanager
    async def deleting(self, image_id: str) -> AsyncIterator[None]:
        """While an image is deleted: its upload, if it is one, goes with it.

        The file stays unless the image is deleted or is not there.
        """
        path = self.find(image_id)
        if path is None:
            yield
            return
        aside, is_gone = path.with_name(path.name + ASIDE), False
        await asyncio.to_thread(_move, path, aside)
        try:
            yield
            is_gone = True
        except ServiceError as error:
            is_gone = error.code == "unknown_id"
            raise
        finally:
            if is_gone:
                await asyncio.to_thread(_remove, aside)
            else:
                await asyncio.to_thread(_move, aside, path)

    def find(self, image_id: str) -> Path | None:
        """Where the file of an image is, or was, if it is an upload; None for all other images.

        What lies below a root of the collection is its owner's, and no upload.
        """
        if not ID.fullmatch(image_id):
            return None
        content, location = image_id[:16], int(image_id[16:], 16)
        for known in FORMATS.values():
            path = self.folder / f"{content}{known.endings[0]}"
            if location_hash(name_of(path, self._root)) == location:
                real = os.path.realpath(self.folder)
                roots = folders_of_roots(self._prepare, self._root)
                is_owned = any(is_in(real, os.path.realpath(root)) for root in roots)
                return None if is_owned else path
        return None


def _move(path: Path, to: Path) -> None:
    """Rename a file, if it is there."""
    try:
        path.replace(to)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.error("Live.upload-dir: %s", error)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
