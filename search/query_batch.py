"""Queries for the search servers, packed once for all of them, and what one server found."""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from msgspec.structs import replace

from common.digest import DigestedBody, with_digest
from common.errors import DeadlineExceeded, ServiceError
from common.request_context import CONTEXT, merge_contexts
from common.wire import Matrix, encode, pack_rows
from search.filter import Filter
from search.messages import Hits, SearchRequest, Sharding

Found = TypeVar("Found")
QueryKind = tuple[str | None, int, bytes, int]


class VectorQuery(NamedTuple):
    """A unit vector, float32 [dim], and its number of hits; `version_digest` None is the newest."""

    vector: Matrix
    k: int
    """Of each shard."""
    most: int
    """Of all shards of a server together: the best that are needed."""
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
    replica: str = ""
    """The address of the replica that answered."""
    sharding: Sharding = "range"


Result = ShardResult[Hits]


class Ask(NamedTuple):
    """What one server is asked for."""

    server: int
    """Its place in the server list."""
    shards: tuple[int, ...] | None = None
    """None: all that it holds."""
    among: frozenset[str] | None = None
    """The addresses of the replicas to choose from; None: all."""


class Server(Protocol):
    """Sends query batches to one entry of the server list."""

    def submit(self, batch: "QueryBatch", ask: Ask) -> "asyncio.Future[list[Result]]":
        """Queue a batch. The future gets this server's result for each query."""


class QueryBatch:
    """Queries of one kind for all servers. The message is packed and hashed once."""

    def __init__(self) -> None:
        self.queries: list[VectorQuery] = []
        self.asks: Sequence[Ask] = ()
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

    def send(self, servers: Sequence[Server], asks: Sequence[Ask]) -> None:
        """Send the batch to those of the servers that `asks` name; `results` waits for them."""
        CONTEXT.set(merge_contexts(self._contexts))
        self.asks = asks
        self._results = [servers[ask.server].submit(self, ask) for ask in asks]
        self._missing = len(asks)
        for result in self._results:
            result.add_done_callback(self._count)

    async def results(self, place: int, deadline: float) -> list[Result | Exception]:
        """The result of each ask for the query at `place`; DeadlineExceeded for a late server."""
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
        ks, most = [query.k for query in self.queries], [query.most for query in self.queries]
        first = self.queries[0]
        shared = (first.version_digest, first.filter, first.min_position)
        return SearchRequest(vectors.shape[1], pack_rows(vectors), ks, *shared, most=most)

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


def _result(result: "asyncio.Future[list[Result]]", place: int) -> Result | Exception:
    if not result.done():
        return DeadlineExceeded("a search server did not answer within the deadline")
    error = result.exception()
    if error is None:
        return result.result()[place]
    return error if isinstance(error, Exception) else ServiceError("a search was cancelled")


def body_of(batches: Sequence[QueryBatch], shards: Sequence[int] | None) -> DigestedBody:
    """One message with the queries of several batches, in order: of one kind but for a position."""
    if len(batches) == 1 and shards is None:
        return batches[0].body
    requests = [batch.request for batch in batches]
    vectors = b"".join([request.vectors for request in requests])
    ks = [k for request in requests for k in request.ks]
    most = [most for request in requests for most in request.most or ()]
    named = list(shards) if shards is not None else None
    position = max(request.min_position for request in requests)
    message = replace(
        requests[0], vectors=vectors, ks=ks, shards=named, most=most, min_position=position
    )
    return with_digest(encode(message))
