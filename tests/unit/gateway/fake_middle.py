"""A middle that embeds without a model: what it was asked is kept."""

import asyncio
from collections import deque

import msgspec

from common.errors import BadRequest, ServiceError
from common.http_client import Reply
from middle.messages import (
    Answer,
    Coverage,
    EmbedAnswer,
    EmbedQuery,
    Hit,
    Query,
    Scalar,
    ShardCounts,
)
from middle.write_messages import PutAnswer, PutQuery

BAD = "bad"
"""The text, and the bytes of the image, that cannot be embedded."""


class FakeMiddle:
    """Answers after `takes_s`, at first with the errors in `failures`."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.failures: deque[ServiceError] = deque()
        self.embedded: list[EmbedQuery] = []
        self.searched: list[Query] = []
        self.written: list[PutQuery] = []
        self.metadata: dict[str, Scalar] = {"n": 1}
        """Of the hit."""
        self.under_way = 0
        self.most_under_way = 0

    async def embed(self, query: EmbedQuery, deadline: float) -> Reply:
        """Embed as `vector_of` does; raises BadRequest for BAD."""
        self.embedded.append(query)
        contents = query.texts or query.images
        self.under_way += len(contents)
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._wait()
        finally:
            self.under_way -= len(contents)
        for place, content in enumerate(contents):
            if content in (BAD, BAD.encode()):
                raise BadRequest(f"input {place}: it is bad")
        warnings = [f"input {len(contents) - 1}: it is long"] if "long" in contents else []
        return reply(EmbedAnswer([vector_of(content) for content in contents], "m", warnings))

    async def search(self, query: Query, deadline: float) -> Reply:
        """One hit, named after the query."""
        self.searched.append(query)
        await self._wait()
        hit = Hit(str(query.text), 0.75, "a.jpg", "", self.metadata, offline=False)
        coverage = Coverage(ShardCounts(2, 1, 1, 0), 0.5, True)
        return reply(Answer([hit], coverage, "v1", 0, "m", {}))

    async def put(self, query: PutQuery, deadline: float) -> PutAnswer:
        """Put an image, whose id is its path; raises BadRequest for one that ends with BAD."""
        await self._wait()
        if query.image.endswith(BAD.encode()):
            raise BadRequest("it is bad")
        self.written.append(query)
        return PutAnswer(query.path, len(self.written), vector_of(query.image))

    async def _wait(self) -> None:
        await asyncio.sleep(self.takes_s)
        if self.failures:
            raise self.failures.popleft()


def vector_of(content: str | bytes) -> list[float]:
    """A unit vector that tells contents of other lengths or kinds apart."""
    angle = len(content) / 10 + isinstance(content, bytes)
    complex_number = (1j) ** angle
    return [complex_number.real, complex_number.imag]


def reply(message: object) -> Reply:
    """A message as middle sends it."""
    return Reply(200, {}, msgspec.json.encode(message))
