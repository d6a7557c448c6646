"""The client of the search servers: each has a line on which queries go out in batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from common.batcher import Batcher, Gather
from common.errors import ServiceError, Unavailable
from common.wire import Matrix, Peer, decode_reply, encode, pack_rows
from search.messages import (
    Hits,
    Info,
    LookupReply,
    LookupRequest,
    SearchReply,
    SearchRequest,
)

MAX_BATCH = 256
MAX_WAITING = 1024
CONNECTIONS = 1
"""Batches under way to a server at a time: with two, batches are half as large, and 21 servers
spend 8.3 ms of CPU on a query instead of 4.5."""

LOOKUPS = 16
"""Connections kept for lookups: a page of thumbnails asks for as many at once."""


class VectorQuery(NamedTuple):
    """A unit vector, float32 [dim], how many hits, and the version to ask, None for the newest."""

    vector: Matrix
    k: int
    version: str | None = None


class Found(NamedTuple):
    """One query's hits from one server: per shard, all of one version."""

    version: str
    space: str
    shard_count: int
    shards: dict[int, Hits]


class SearchServer:
    """One entry of the server list: replicas that hold the same shards."""

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        self.name = name
        self._peers = [Peer(address, CONNECTIONS + LOOKUPS) for address in addresses]
        self._line = Batcher(name, [self._send] * CONNECTIONS, MAX_BATCH, MAX_WAITING)

    def start(self) -> None:
        """Start the threads that send; call it after the process has forked."""
        self._line.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        self._line.close()
        for peer in self._peers:
            peer.close()

    def search(self, query: VectorQuery, gather: Gather, slot: int) -> None:
        """Settle a slot of `gather` with what this server has Found, or the error."""
        self._line.submit(query, gather, slot)

    def lookup(self, image_id: str, deadline: float) -> LookupReply:
        """The image of an id; raises NotFound's ServiceError, Unavailable or DeadlineExceeded."""
        body = self._ask("/lookup", encode(LookupRequest(image_id)), deadline)
        return decode_reply(body, LookupReply)

    def info(self, deadline: float) -> Info:
        """What this server holds; raises as `lookup`."""
        return decode_reply(self._ask("/info", None, deadline), Info)

    def _ask(self, path: str, body: bytes | None, deadline: float) -> bytes:
        """Ask the first replica that can be reached."""
        for peer in self._peers:
            try:
                return peer.get(path, deadline) if body is None else peer.post(path, body, deadline)
            except Unavailable as error:
                failure = error
        raise failure

    def _send(self, queries: list[VectorQuery], deadline: float) -> list[Any]:
        """Send a batch, queries of one version and dimension together; a result each."""
        results: list[Any] = [None] * len(queries)
        kinds = [(query.version, len(query.vector)) for query in queries]
        for kind in set(kinds):
            places = [i for i, one in enumerate(kinds) if one == kind]
            found: list[Any]
            try:
                found = self._send_one([queries[i] for i in places], deadline)
            except ServiceError as error:
                found = [error] * len(places)
            for i, one in zip(places, found, strict=True):
                results[i] = one
        return results

    def _send_one(self, queries: list[VectorQuery], deadline: float) -> list[Found]:
        vectors = np.stack([query.vector for query in queries])
        request = SearchRequest(
            vectors.shape[1],
            pack_rows(vectors),
            [query.k for query in queries],
            queries[0].version,
        )
        reply = decode_reply(self._ask("/search", encode(request), deadline), SearchReply)
        return [
            Found(
                reply.version,
                reply.space,
                reply.shard_count,
                {one.shard: one.hits[i] for one in reply.shards},
            )
            for i in range(len(queries))
        ]
