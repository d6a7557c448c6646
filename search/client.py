"""The client of the search servers: it sends queries in batches and checks the replies."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from msgspec.structs import replace

from common.coalescing import Coalescer
from common.digest import DigestedBody, with_digest
from common.errors import DeadlineExceeded, ServiceError
from common.http_client import HttpClient, Request, checked
from common.loop import within
from common.request_context import CONTEXT, merge_contexts
from common.upstream import Upstream
from common.wire import Matrix, encode, pack_rows
from search.browse_messages import BrowseRequest, CountRequest, Counts, Listed, ShardReply
from search.filter import Filter
from search.messages import Hits, Info, LookupReply, LookupRequest, SearchRequest
from search.reply_validation import (
    validate_browse,
    validate_counts,
    validate_info,
    validate_lookup,
    validate_search,
)

MAX_BATCH = 32
"""Most query batches in one request. Only a server that has fallen behind gets more than one.

A query batch has at most 256 queries; on a quiet system, one. 32 query batches are all that may
arrive during one reply."""
MAX_QUEUE = 1024
SLOTS = 1
"""Requests in flight to a replica. With two, batches are half as large: 21 servers then need
8.3 ms of CPU for a query instead of 4.5 ms."""

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Validate = Callable[[bytes, Asked], ShardReply[Found]]
QueryKind = tuple[str | None, int, bytes, int]


class VectorQuery(NamedTuple):
    """A unit vector, float32 [dim], and its number of hits; `version_digest` None is the newest."""

    vector: Matrix
    k: int
    version_digest: str | None = None
    filter: Filter | None = None
    min_position: int = 0
    """Of the log: the answer has the entries up to it."""

    @property
    def kind(self) -> QueryKind:
        """What all queries of a message have in common: all but their vectors and ks."""
        # encoded, as the filters 1 and true are equal for Python
        packed = encode(self.filter) if self.filter else b""
        return self.version_digest, len(self.vector), packed, self.min_position


class ShardResult(NamedTuple, Generic[Found]):
    """What one server found for one query, by shard. All shards are of one version."""

    version: str
    version_digest: str
    space: str
    shard_count: int
    shards: dict[int, Found]
    position: int = 0
    """Of the log: the entries up to it are in what was found."""


Result = ShardResult[Hits]


class QueryBatch:
    """Queries of one kind for all servers. The message is packed and hashed once."""

    def __init__(self) -> None:
        self.queries: list[VectorQuery] = []
        self.deadline = 0.0
        """The latest deadline of its queries, on the loop's clock."""
        self._contexts = [CONTEXT.get()]
        self._results: list[asyncio.Future[list[Result]]] = []
        self._missing = 0
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = 0

    def add(self, query: VectorQuery, deadline: float) -> int:
        """Add a query before the batch is sent; returns its place."""
        self.queries.append(query)
        self.deadline = max(self.deadline, deadline)
        self._contexts.append(CONTEXT.get())
        self._waiting += 1
        return len(self.queries) - 1

    def send(self, servers: Sequence["SearchServer"]) -> None:
        """Send the batch to some servers; `results` waits for the replies."""
        CONTEXT.set(merge_contexts(self._contexts))
        self._results = [server.submit(self) for server in servers]
        self._missing = len(servers)
        for result in self._results:
            result.add_done_callback(self._count)

    async def results(self, place: int, deadline: float) -> list[Result | Exception]:
        """Each server's result for the query at `place`; DeadlineExceeded for a late server."""
        left_s = deadline - asyncio.get_running_loop().time()
        try:
            await asyncio.wait([self._complete], timeout=max(0.0, left_s))
            return [_result(result, place) for result in self._results]
        finally:  # also when this caller is cancelled
            self._waiting -= 1
            if not self._waiting:
                for result in self._results:
                    result.cancel()  # no caller waits: a queued batch need not be sent

    @cached_property
    def request(self) -> SearchRequest:
        """The queries as a message."""
        vectors = np.stack([query.vector for query in self.queries])
        ks = [query.k for query in self.queries]
        first = self.queries[0]
        shared = (first.version_digest, first.filter, first.min_position)
        return SearchRequest(vectors.shape[1], pack_rows(vectors), ks, *shared)

    @cached_property
    def body(self) -> DigestedBody:
        """The message as bytes, with their digest."""
        return with_digest(encode(self.request))

    def _count(self, result: "asyncio.Future[list[Result]]") -> None:
        if not result.cancelled():
            result.exception()  # read here, as asyncio complains of an exception that is never read
        self._missing -= 1
        if not self._missing and not self._complete.done():
            self._complete.set_result(None)


class SearchServer:
    """One entry of the server list: replicas that hold the same shards."""

    def __init__(self, name: str, addresses: Sequence[str], http: HttpClient) -> None:
        """The caller closes `http`."""
        self._replicas = len(addresses)
        self._upstream = Upstream(name, addresses, http, needs_digest=True, keeps_last=False)
        self._batches = self._line(name)
        self._waiting = self._line(f"{name}-waiting")  # the others do not wait for these

    async def close(self) -> None:
        """Stop probing."""
        await self._upstream.close()

    def submit(self, batch: QueryBatch) -> "asyncio.Future[list[Result]]":
        """Queue a batch. The future gets this server's result for each query."""
        line = self._waiting if batch.queries[0].min_position else self._batches
        return line.submit(batch, batch.deadline)

    async def lookup(self, image_id: str, deadline: float, min_position: int = 0) -> LookupReply:
        """The image of an id. Raises the server's ServiceError, Unavailable, DeadlineExceeded."""
        message = encode(LookupRequest(image_id, min_position))
        request = Request("POST", "/lookup", with_digest(message))
        return await self._upstream.ask(
            request, deadline, lambda reply: validate_lookup(reply.body, min_position)
        )

    async def browse(self, message: BrowseRequest, deadline: float) -> ShardResult[list[Listed]]:
        """The next images of each shard. Raises as `lookup`."""
        return await self._ask("/browse", message, deadline, validate_browse)

    async def counts(self, message: CountRequest, deadline: float) -> ShardResult[Counts]:
        """The counts of each shard. Raises as `lookup`."""
        return await self._ask("/counts", message, deadline, validate_counts)

    async def _ask(
        self, path: str, message: Asked, deadline: float, validate: Validate[Asked, Found]
    ) -> ShardResult[Found]:
        request = Request("POST", path, with_digest(encode(message)))
        reply = await self._upstream.ask(request, deadline, lambda it: validate(it.body, message))
        named = (reply.version, reply.version_digest, reply.space, reply.shard_count)
        return ShardResult(*named, reply.shards)

    async def info(self, deadline: float) -> Info:
        """What this server holds. Raises ServiceError, Unavailable, DeadlineExceeded."""
        return await self._upstream.ask(
            Request("GET", "/info"), deadline, lambda reply: validate_info(reply.body)
        )

    def _line(self, name: str) -> Coalescer[QueryBatch, list[Result]]:
        return Coalescer(
            name,
            self._send,
            slots=SLOTS * self._replicas,
            max_batch=MAX_BATCH,
            max_queue=MAX_QUEUE,
        )

    async def _send(
        self, batches: list[QueryBatch], deadline: float
    ) -> list[list[Result] | Exception]:
        """Send the batches of each kind in one request; results or an error for each batch."""
        results: dict[QueryBatch, list[Result] | Exception] = {}
        kinds = {batch: batch.queries[0].kind for batch in batches}
        for kind in set(kinds.values()):
            alike = [batch for batch in batches if kinds[batch] == kind]
            try:
                found = await self._send_alike(alike, deadline)
                results |= {batch: list(islice(found, len(batch.queries))) for batch in alike}
            except ServiceError as error:
                results |= dict.fromkeys(alike, error)
        return [results[batch] for batch in batches]

    async def _send_alike(self, batches: list[QueryBatch], deadline: float) -> Iterator[Result]:
        ks = [query.k for batch in batches for query in batch.queries]
        first, request = batches[0].queries[0], Request("POST", "/search", _body_of(batches))
        wanted = (ks, first.version_digest, first.min_position)
        reply = await self._upstream.ask(
            request, deadline, lambda reply: validate_search(reply.body, *wanted)
        )
        shards = [(shard_hits.shard, shard_hits.hits) for shard_hits in reply.shards]
        named = (reply.version, reply.version_digest, reply.space, reply.shard_count)
        return (
            ShardResult(*named, {shard: hits[place] for shard, hits in shards}, reply.position)
            for place in range(len(ks))
        )


async def fetch_info(http: HttpClient, address: str, timeout_s: float) -> Info:
    """What one replica holds; asked once. Raises NotConnected and other ServiceErrors."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    reply = await within(deadline, http.send(address, Request("GET", "/info")))
    return validate_info((await checked(reply)).body)


def _result(result: "asyncio.Future[list[Result]]", place: int) -> Result | Exception:
    if not result.done():
        return DeadlineExceeded("a search server did not answer within the deadline")
    error = result.exception()
    if error is None:
        return result.result()[place]
    return error if isinstance(error, Exception) else ServiceError("a search was cancelled")


def _body_of(batches: Sequence[QueryBatch]) -> DigestedBody:
    """One message with the queries of several batches of one kind, in order."""
    if len(batches) == 1:
        return batches[0].body
    requests = [batch.request for batch in batches]
    vectors = b"".join([request.vectors for request in requests])
    ks = [k for request in requests for k in request.ks]
    return with_digest(encode(replace(requests[0], vectors=vectors, ks=ks)))
