"""The client of the search servers: it sends queries in batches and checks the replies."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from common.coalescing import Coalescer
from common.digest import with_digest
from common.errors import ServiceError
from common.http_client import HttpClient, Request, checked
from common.loop import within
from common.upstream import Upstream
from common.wire import encode
from search.browse_messages import BrowseRequest, CountRequest, Counts, Listed, ShardReply
from search.messages import Info, LookupReply, LookupRequest
from search.query_batch import Ask, QueryBatch, QueryKind, Result, ShardResult, body_of
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
Item = tuple[QueryBatch, Ask]


class SearchServer:
    """One entry of the server list: replicas, which hold the same shards most of the time."""

    def __init__(self, name: str, addresses: Sequence[str], http: HttpClient) -> None:
        """The caller closes `http`."""
        self._http = http
        self.addresses = tuple(addresses)
        self._upstream = Upstream(name, addresses, http, needs_digest=True, keeps_last=False)
        self._positions: dict[str, int] = {}
        self._batches = self._line(name)
        self._waiting = self._line(f"{name}-waiting")  # the others do not wait for these

    async def close(self) -> None:
        """Stop probing."""
        await self._upstream.close()

    def in_use(self) -> list[str]:
        """The addresses of the replicas that are not ejected."""
        return self._upstream.in_use()

    def submit(self, batch: QueryBatch, ask: Ask) -> "asyncio.Future[list[Result]]":
        """Queue a batch. The future gets this server's result for each query."""
        line = self._batches if self._has(batch.queries[0].min_position) else self._waiting
        return line.submit((batch, ask), batch.deadline)

    def _has(self, position: int) -> bool:
        """Whether each replica in use has told that it has the log up to there."""
        told = self._positions
        return not position or all(told.get(address, 0) >= position for address in self.in_use())

    async def lookup(
        self,
        image_id: str,
        deadline: float,
        min_position: int = 0,
        among: frozenset[str] | None = None,
    ) -> LookupReply:
        """The image of an id, from a replica that is in `among` (None: from any).

        Raises the server's ServiceError, Unavailable, DeadlineExceeded.
        """
        message = encode(LookupRequest(image_id, min_position))
        request = Request("POST", "/lookup", with_digest(message))
        return await self._upstream.ask(
            request, deadline, lambda reply: validate_lookup(reply.body, min_position), among
        )

    async def browse(
        self, message: BrowseRequest, deadline: float, among: frozenset[str] | None = None
    ) -> ShardResult[list[Listed]]:
        """The next images of each shard that the replica holds. Raises as `lookup`."""
        return await self._ask("/browse", message, deadline, validate_browse, among)

    async def counts(
        self, message: CountRequest, deadline: float, among: frozenset[str] | None = None
    ) -> ShardResult[Counts]:
        """The counts of each shard that the replica holds. Raises as `lookup`."""
        return await self._ask("/counts", message, deadline, validate_counts, among)

    async def _ask(
        self,
        path: str,
        message: Asked,
        deadline: float,
        validate: Validate[Asked, Found],
        among: frozenset[str] | None,
    ) -> ShardResult[Found]:
        request = Request("POST", path, with_digest(encode(message)))
        replica, reply = await self._upstream.ask(
            request, deadline, lambda it: (it.address, validate(it.body, message)), among
        )
        named = (reply.version, reply.version_digest, reply.space, reply.shard_count)
        return ShardResult(*named, reply.shards, reply.position, replica)

    async def info(self, deadline: float) -> Info:
        """What this server holds. Raises ServiceError, Unavailable, DeadlineExceeded."""
        return await self._upstream.ask(
            Request("GET", "/info"), deadline, lambda reply: validate_info(reply.body)
        )

    async def infos(self, timeout_s: float) -> dict[str, Info]:
        """What each replica in use holds, by its address, if it answers in time.

        A replica that does not has not failed: no query waits for it.
        """
        addresses = self.in_use()
        asking = [fetch_info(self._http, address, timeout_s) for address in addresses]
        found = await asyncio.gather(*asking, return_exceptions=True)
        infos = {
            address: info
            for address, info in zip(addresses, found, strict=True)
            if isinstance(info, Info)
        }
        self._positions |= {address: info.position for address, info in infos.items()}
        return infos

    def _line(self, name: str) -> Coalescer[Item, list[Result]]:
        return Coalescer(
            name,
            self._send,
            slots=SLOTS * len(self.addresses),
            max_batch=MAX_BATCH,
            max_queue=MAX_QUEUE,
        )

    async def _send(self, items: list[Item], deadline: float) -> list[list[Result] | Exception]:
        """Send the batches of each kind in one request; results or an error for each batch.

        Those whose writes are there go with those that need none.
        """
        results: dict[Item, list[Result] | Exception] = {}
        kinds: dict[Item, tuple[QueryKind, Ask]] = {}
        for batch, ask in items:
            kind = batch.queries[0].kind
            kinds[batch, ask] = (*kind[:3], 0) if self._has(kind[3]) else kind, ask
        for wanted in dict.fromkeys(kinds.values()):
            alike = [item for item in items if kinds[item] == wanted]
            try:
                found = await self._send_alike([batch for batch, _ in alike], wanted[1], deadline)
                results |= {item: list(islice(found, len(item[0].queries))) for item in alike}
            except ServiceError as error:
                results |= dict.fromkeys(alike, error)
        return [results[item] for item in items]

    async def _send_alike(
        self, batches: list[QueryBatch], ask: Ask, deadline: float
    ) -> Iterator[Result]:
        ks = [query.k for batch in batches for query in batch.queries]
        first = batches[0].queries[0]
        request = Request("POST", "/search", body_of(batches, ask.shards))
        position = max(batch.queries[0].min_position for batch in batches)
        wanted = (ks, first.version_digest, position, ask.shards)
        replica, reply = await self._upstream.ask(
            request,
            deadline,
            lambda reply: (reply.address, validate_search(reply.body, *wanted)),
            ask.among,
        )
        self._positions[replica] = reply.position
        shards = [(shard_hits.shard, shard_hits.hits) for shard_hits in reply.shards]
        named = (reply.version, reply.version_digest, reply.space, reply.shard_count)
        told = (reply.position, replica, reply.sharding)
        return (
            ShardResult(*named, {shard: hits[place] for shard, hits in shards}, *told)
            for place in range(len(ks))
        )


async def fetch_info(http: HttpClient, address: str, timeout_s: float) -> Info:
    """What one replica holds; asked once. Raises NotConnected and other ServiceErrors."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    reply = await within(deadline, http.send(address, Request("GET", "/info")))
    return validate_info((await checked(reply)).body)
