"""Documents that a client indexes: images that are put, as by `POST /v1/images`."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from common.errors import BadRequest, NotImplementedHere, ServiceError
from common.uploads import Uploads
from gateway.documents import DATA_URI, URI, Content, about
from gateway.retrying import RetryingMiddle
from gateway.wire import Message
from middle.messages import Scalar
from middle.write_messages import PutAnswer, put_query

AT_ONCE = 8
"""Puts of one request at a time."""
SEEN_S = 10.0
"""So long after a put, searches through this gateway wait for it. Later no server lags behind it,
and if one does, searches shall go on."""


class NewImage(NamedTuple):
    """An image of a document, the name of the document in messages, and its metadata."""

    label: str
    data: bytes
    metadata: dict[str, Scalar]


class Indexer:
    """Puts images into the index through middle, and knows the position of the last one."""

    def __init__(
        self, middle: RetryingMiddle, uploads: Uploads | None, now: Callable[[], float]
    ) -> None:
        """Without `uploads`, there is no log or no index, and nothing can be put."""
        self._middle = middle
        self._uploads = uploads
        self._now = now
        self._position = 0
        self._until = 0.0

    @property
    def position(self) -> int:
        """The position that a search should have, to find what was put just now."""
        return self._position if self._now() < self._until else 0

    def check(self) -> Uploads:
        """What keeps the files; raises NotImplementedHere where nothing can be put."""
        if self._uploads is None:
            raise NotImplementedHere(
                "nothing can be put into the index here: whoever runs this server can set Live.log,"
                " or add images by python prepare/prepare.py; /encode only embeds",
                "no_log",
            )
        return self._uploads

    async def put(self, images: list[NewImage]) -> list[PutAnswer]:
        """Put images; if some fail, raises the ServiceError of the first, and the others are put.

        To put an image again does no harm.
        """
        uploads, turn = self.check(), asyncio.Semaphore(AT_ONCE)

        async def put(image: NewImage) -> PutAnswer:
            async with turn:
                placed = await asyncio.to_thread(uploads.keep, image.data)
                async with uploads.putting(placed):
                    answer = await self._middle.put(put_query(placed, image.metadata))
            self._position = max(self._position, answer.position)
            self._until = self._now() + SEEN_S
            return answer

        found: list[PutAnswer] = []
        answers = await asyncio.gather(*map(put, images), return_exceptions=True)
        for image, answer in zip(images, answers, strict=True):
            if isinstance(answer, ServiceError):
                raise about(image.label, answer)
            if isinstance(answer, BaseException):
                raise answer
            found.append(answer)
        return found


def new_image(document: Message, label: str, content: Content | None) -> NewImage:
    """What a document puts; raises BadRequest.

    Its tags become the metadata, and its uri a field of it. Numbers of tags are doubles: whole ones
    become whole again.
    """
    if not isinstance(content, bytes):
        found = "it is a text" if content else "it has no content"
        raise about(label, BadRequest(f"{found}; images alone are put into the index"))
    metadata: dict[str, Scalar] = {}
    if document.uri and not document.uri.lower().startswith(DATA_URI):
        metadata[URI] = document.uri
    for name, value in document.tags.items():
        if not (value is None or isinstance(value, str | bool | float)):
            detail = f"the tag {name!r} is neither a text, a number, a boolean nor null"
            raise about(label, BadRequest(detail))
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        metadata[name] = value
    return NewImage(label, content, metadata)
