"""The client of middle, for front; answers stay the JSON that middle sent."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from cachetools import LRUCache

from common.digest import digested
from common.errors import InvalidResponse, ServiceError
from common.http_client import HttpClient, Reply, Request
from common.internal_auth import InternalAuth
from common.upstream import Upstream
from common.wire import UNREADABLE, encode
from middle.browse_messages import BrowseQuery, CountsQuery
from middle.messages import ClassifyQuery, EmbedQuery, Image, Query
from middle.segment_messages import SegmentQuery
from middle.write_messages import PatchQuery, PutAnswer, PutQuery, Written

Message = TypeVar("Message")
Answered = TypeVar("Answered", bound=Written)
Asking = Coroutine[Any, Any, Reply]
GRACE_S = 0.1
"""The wait after middle's deadline, at which middle itself answers, degraded or with an error."""
LEAD_S = 0.05
"""Middle's deadline is so much before front's, and at most a quarter of the time that is left. So
an answer that comes late, or a refusal, leaves front within 100 ms of front's deadline."""
POLL_TIMEOUT_S = 1.0
MAX_WRITTEN = 10_000
"""Images whose last write is remembered. A search server that lags behind a write is asked for the
image as it is after it; 10,000 writes later no server should lag."""


class MiddleClient:
    """Queries the middle servers from one event loop; deadlines are on the loop's clock."""

    def __init__(
        self, addresses: Sequence[str], deadline_ms: int, inside: InternalAuth | None = None
    ) -> None:
        """`addresses` are "host:port". The first request opens a connection."""
        self._http = HttpClient(inside)
        self._upstream = Upstream("middle", addresses, self._http, grace_s=GRACE_S)
        self._deadline_s = deadline_ms / 1000
        self._written: LRUCache[str, int] = LRUCache(MAX_WRITTEN)

    def search(self, query: Query, deadline: float, *, bypass: bool = False) -> Asking:
        """Ask for the `Answer` to a query, in JSON; awaiting it raises a ServiceError.

        With `bypass`, in all methods, the answer is not from a cache. A query is encoded at once:
        it need not be kept, with its images, until the answer is there.
        """
        return self._post("/search", encode(query), deadline, bypass)

    def embed(self, query: EmbedQuery, deadline: float, *, bypass: bool = False) -> Asking:
        """Ask for the `EmbedAnswer` to a query, in JSON; awaiting it raises a ServiceError."""
        return self._post("/embed", encode(query), deadline, bypass)

    def classify(self, query: ClassifyQuery, deadline: float, *, bypass: bool = False) -> Asking:
        """Ask for the `ClassifyAnswer` to a query, in JSON; awaiting it raises a ServiceError."""
        return self._post("/classify", encode(query), deadline, bypass)

    def segment(self, query: SegmentQuery, deadline: float, *, bypass: bool = False) -> Asking:
        """Ask for the `SegmentAnswer` to a query, in JSON; awaiting it raises a ServiceError."""
        return self._post("/segment", encode(query), deadline, bypass)

    def browse(self, query: BrowseQuery, deadline: float) -> Asking:
        """Ask for the `BrowseAnswer` to a query, in JSON; awaiting it raises a ServiceError."""
        return self._post("/browse", encode(query), deadline, bypass=False)

    def facets(self, query: CountsQuery, deadline: float) -> Asking:
        """Ask for the `FacetsAnswer` to a query, in JSON; awaiting it raises a ServiceError."""
        return self._post("/facets", encode(query), deadline, bypass=False)

    async def purge(self) -> None:
        """Empty the prediction cache of each middle server; raises a ServiceError."""
        for answer in await self._upstream.ask_all(Request("DELETE", "/cache"), self._deadline()):
            if isinstance(answer, ServiceError):
                raise answer

    async def cache_versions(self) -> list[str]:
        """The cache version of each middle server that answers within POLL_TIMEOUT_S."""
        deadline = asyncio.get_running_loop().time() + POLL_TIMEOUT_S
        answers = await self._upstream.ask_all(Request("GET", "/cache"), deadline)
        replies = [answer for answer in answers if isinstance(answer, Reply)]
        known = [decode_answer(reply.body, dict[str, str | None])["version"] for reply in replies]
        return [version for version in known if version]

    async def image(self, image_id: str, deadline: float | None = None) -> Image:
        """An indexed image, as this client has last written it; raises a ServiceError."""
        path = _path_of(image_id)
        if position := self._written.get(image_id):
            path += f"?min_position={position}"
        reply = await self._ask(Request("GET", path), deadline or self._deadline())
        return decode_answer(reply.body, Image)

    async def put(self, query: PutQuery, deadline: float) -> PutAnswer:
        """Put an image into the index. Raises a ServiceError, also in the methods below.

        After an Unavailable it may have been written all the same.
        """
        body = await digested(encode(query))
        request = Request("POST", "/images", body, once=True)
        return await self._write(request, deadline, PutAnswer)

    async def patch(self, image_id: str, query: PatchQuery, deadline: float) -> Written:
        """Change the metadata of an image."""
        body = await digested(encode(query))
        return await self._write(
            Request("PATCH", _path_of(image_id), body, once=True), deadline, Written
        )

    async def delete(self, image_id: str, deadline: float) -> Written:
        """Delete an image."""
        return await self._write(
            Request("DELETE", _path_of(image_id), once=True), deadline, Written
        )

    async def info(self) -> bytes:
        """The `Info` of middle, in JSON; raises a ServiceError."""
        return await self._get("/info")

    async def ready(self) -> None:
        """Raise a ServiceError unless middle can answer queries."""
        await self._get("/ready")

    async def close(self) -> None:
        """Close the connections."""
        await self._upstream.close()
        await self._http.close()

    async def _post(self, path: str, message: bytes, deadline: float, bypass: bool) -> Reply:
        headers = {"Cache-Control": "no-cache"} if bypass else {}
        request = Request("POST", path, await digested(message), headers)
        return await self._ask(request, deadline)

    async def _write(self, request: Request, deadline: float, kind: type[Answered]) -> Answered:
        written = decode_answer((await self._ask(request, deadline)).body, kind)
        self._written[written.id] = written.position
        return written

    async def _get(self, path: str) -> bytes:
        return (await self._ask(Request("GET", path), self._deadline())).body

    async def _ask(self, request: Request, deadline: float) -> Reply:
        left_s = deadline - asyncio.get_running_loop().time()
        lead_s = min(LEAD_S, left_s / 4)
        return await self._upstream.ask(request, deadline - lead_s, lambda reply: reply)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._deadline_s


def _path_of(image_id: str) -> str:
    return f"/images/{quote(image_id, safe='')}"


def decode_answer(body: bytes, kind: type[Message]) -> Message:
    """Decode what middle answered, in JSON; raises InvalidResponse."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE:
        raise InvalidResponse("a server behind this one gave no proper answer") from None
