"""The files of images that are put: read where they lie, or kept in the folder of uploads."""

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from common.config import Config
from common.errors import BadRequest, ConfigError, TooLarge, Unavailable, UnsupportedMedia
from common.files import TEMPORARY, content_hash, name_of, read_regular, sync
from common.images.facts import facts_of, facts_of_file
from common.images.formats import FORMATS, format_of
from common.roots import read_roots
from front.write_requests import NewImage
from middle.write_checks import MAX_PATH

log = logging.getLogger(__name__)


class Placed(NamedTuple):
    """An image file and its place, as a record of the index has it."""

    data: bytes
    path: str
    told_from: int
    facts: dict[str, str | int]
    """What filters can test of the file: as `Record.facts`."""
    is_new: bool = False
    """Whether the file was not there before."""


class NewImages:
    """Finds or keeps the files of images that are put; any thread may use it."""

    def __init__(self, config: Config, root: Path) -> None:
        """`root` is the folder of config.json."""
        self._root = root
        self._prepare = config.prepare
        self._uploads = Path(os.path.abspath(root / config.live.upload_dir))
        self._max_bytes = config.front.max_body_bytes

    def place(self, image: NewImage) -> Placed:
        """The file that an image has or gets; raises a ServiceError."""
        return self._keep(image.image) if image.image is not None else self._find(image.path or "")

    def forget(self, placed: Placed) -> None:
        """Delete a file that was kept, if it was new."""
        if placed.is_new:
            with suppress(OSError):
                (self._root / placed.path).unlink()

    def _find(self, given: str) -> Placed:
        """A file in a folder of the collection; a link must not lead out of all of them."""
        if not 0 < len(given) <= MAX_PATH or "\0" in given:
            raise BadRequest(f"`path` has 1 to {MAX_PATH} characters, none of them 0")
        path = os.path.abspath(self._root / given)
        folder = next((folder for folder in self._folders() if _is_in(path, folder)), None)
        real, follows = os.path.realpath(path), self._prepare.follow_links
        stays = follows or any(_is_in(real, os.path.realpath(place)) for place in self._folders())
        if folder is None or not stays:
            raise BadRequest(
                "`path` must lie in a folder of the collection (prepare.py list) or of uploads"
            )
        try:
            data = read_regular(Path(path), self._max_bytes)
        except OSError as error:
            if error.errno == errno.EFBIG and Path(path).stat().st_size:
                raise TooLarge(f"the file is over the limit: {self._max_bytes} bytes") from None
            raise BadRequest("there is no image file at `path`") from None
        return self._placed(data, path, folder)

    def _keep(self, data: bytes) -> Placed:
        """Keep an uploaded file under its content hash: the same file again is the same image."""
        kind = format_of(data)
        if kind is None:
            raise UnsupportedMedia(f"not an image we read ({', '.join(FORMATS)})")
        content = content_hash(data)
        path = self._uploads / f"{content}{FORMATS[kind].endings[0]}"
        try:
            is_there = path.is_file() and content_hash(path.read_bytes()) == content
            if not is_there:
                _write(path, data)
        except OSError as error:
            log.error("Live.upload-dir: %s", error)
            raise Unavailable("the folder of uploads cannot take the image now") from None
        return self._placed(data, str(path), str(self._uploads), is_new=not is_there)

    def _placed(self, data: bytes, path: str, folder: str, *, is_new: bool = False) -> Placed:
        name = name_of(path, self._root)
        told_from = len(folder) - len(os.path.basename(folder)) if name.startswith("/") else 0
        status = Path(path).stat()
        facts = facts_of_file(len(data), status.st_mtime_ns) | facts_of(data)
        return Placed(data, name, told_from, facts, is_new)

    def _folders(self) -> Iterator[str]:
        """Where images of the collection may lie: absolute paths."""
        yield str(self._uploads)
        roots = None
        with suppress(ConfigError):  # prepare says so; what config.json names holds
            roots = read_roots(self._root / self._prepare.embedding_dir)
        for name in dict.fromkeys([*(roots.names if roots else []), *self._prepare.images]):
            yield os.path.abspath(self._root / name)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _write(path: Path, data: bytes) -> None:
    """Write a file whole; others may write the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{threading.get_ident()}-{os.getpid()}{TEMPORARY}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
