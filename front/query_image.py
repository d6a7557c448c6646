"""The image file that a query means by an address, or by an id of which it has a region."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from flask import request

from common.errors import BadRequest, TooLarge
from common.keys import Keys
from common.loop import LoopThread
from front.image_fetch import Fetcher
from front.query import SearchQuery, SegmentRequest
from front.renditions import read_image
from middle.client import MiddleClient

Asked = TypeVar("Asked", SearchQuery, SegmentRequest)


class QueryImages(NamedTuple):
    """Puts the image file in a query's place for it; for the thread of a request."""

    client: MiddleClient
    loop: LoopThread
    fetcher: Fetcher | None
    """None: no image is fetched from an address."""
    keys: Keys
    root: Path
    """Where relative paths of images start from."""
    max_bytes: int

    def check(self, query: SearchQuery | SegmentRequest) -> None:
        """Raise Unauthorized or Forbidden for a query that reads a file which its key may not."""
        if _reads_file(query):
            self.keys.check(request.headers.get("Authorization", ""), "images")

    def fill(self, query: Asked, new_deadline: Callable[[], float]) -> tuple[Asked, float]:
        """The query with its image file, and its deadline; raises a ServiceError.

        The deadline begins after the request was read, and after an image was fetched.
        """
        if query.image_url is not None and not _reads_file(query):
            query.image, query.image_url = self._of_url(query.image_url), None
        deadline = new_deadline()
        if _reads_file(query):
            query.image, query.id = self._of_id(query.id or "", deadline), None
        return query, deadline

    def _of_id(self, image_id: str, deadline: float) -> bytes:
        found = self.loop.run(self.client.image(image_id, deadline))
        data = read_image(image_id, self.root / found.file)
        if len(data) > self.max_bytes:
            raise TooLarge(
                f"the file of this image has {len(data)} bytes; a part of it is found in up to"
                f" {self.max_bytes} (Front.max-body-bytes): send that part of the image itself"
            )
        return data

    def _of_url(self, url: str) -> bytes:
        if self.fetcher is None:
            raise BadRequest(
                "image_url is off: whoever runs this server can set Front.image-url",
                "image_url_off",
            )
        return self.loop.run(self.fetcher.fetch(url))


def _reads_file(query: SearchQuery | SegmentRequest) -> bool:
    """Whether a query is for a part of an indexed image, of which the index has the whole alone."""
    return query.id is not None and (isinstance(query, SegmentRequest) or query.region is not None)
