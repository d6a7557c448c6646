"""The files of images that are put: read where they lie, or kept in the folder of uploads."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from common.config import Config
from common.errors import BadRequest, TooLarge
from common.files import absolute_name, read_regular
from common.roots import folders_of_roots, is_in
from common.uploads import Placed, Uploads, placed
from front.write_requests import NewImage
from middle.write_checks import MAX_PATH


class NewImages:
    """Finds or keeps the files of images that are put; any thread may use it."""

    def __init__(self, config: Config, root: Path) -> None:
        """`root` is the folder of config.json."""
        self.uploads = Uploads(config, root)
        self._root = root
        self._prepare = config.prepare
        self._max_bytes = config.front.max_body_bytes

    def place(self, image: NewImage) -> Placed:
        """The file that an image has or gets; raises a ServiceError."""
        if image.image is not None:
            return self.uploads.keep(image.image)
        return self._find(image.path or "")

    def _find(self, given: str) -> Placed:
        """A file in a folder of the collection; a link must not lead out of all of them."""
        if not 0 < len(given) <= MAX_PATH or "\0" in given:
            raise BadRequest(f"`path` has 1 to {MAX_PATH} characters, none of them 0")
        path = absolute_name(self._root / given)
        folder = next((folder for folder in self._folders() if is_in(path, folder)), None)
        real, follows = os.path.realpath(path), self._prepare.follow_links
        stays = follows or any(is_in(real, os.path.realpath(place)) for place in self._folders())
        if folder is None or not stays:
            raise BadRequest(
                "`path` must lie in a folder of the collection (prepare.py list) or of uploads"
            )
        try:
            data = read_regular(Path(path), self._max_bytes)
            return placed(data, path, folder, self._root)
        except OSError as error:
            if error.errno == errno.EFBIG and Path(path).stat().st_size:
                raise TooLarge(f"the file is over the limit: {self._max_bytes} bytes") from None
            raise BadRequest("there is no image file at `path`") from None

    def _folders(self) -> Iterator[str]:
        """Where images of the collection may lie: absolute paths."""
        yield str(self.uploads.folder)
        yield from folders_of_roots(self._prepare, self._root)
