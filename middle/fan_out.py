"""Asking every search server at once, and saying honestly how much of the index answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from common.errors import DeadlineExceeded, ServiceError, Unavailable
from common.metrics import BATCH_SIZE
from common.wire import Matrix
from middle.messages import Coverage, ShardCounts
from search.client import QueryBatch, SearchServer, ShardResult, VectorQuery
from search.image_key import parse_id, shard_of
from search.messages import Hits, Info, LookupReply

Answer = TypeVar("Answer")
MAX_BATCH = 256
"""Queries in one message: more than a worker of middle usually has in hand."""


class FanOutResult(NamedTuple):
    """What the shards of one version found, and how many of them answered."""

    version: str
    version_digest: str
    space: str
    shards: dict[int, Hits]
    coverage: Coverage

    def without(self, shard: int) -> "FanOutResult":
        """The same, but that shard failed; raises Unavailable when it was the last."""
        left = {number: hits for number, hits in self.shards.items() if number != shard}
        if not left:
            raise Unavailable("no shard answered", "no_shard")
        counts = self.coverage.shards
        return self._replace(
            shards=left, coverage=_coverage(counts.total, len(left), counts.timeout)
        )


class FanOut:
    """The search servers together. Belongs to one event loop."""

    def __init__(
        self, servers: Sequence[SearchServer], holds: Sequence[list[int]], shard_count: int
    ) -> None:
        """`holds[i]` are the shards of server i, as configured, until it says otherwise."""
        self._servers = servers
        self._holds = list(holds)
        self.shard_count = shard_count
        self._open: dict[tuple[str | None, int], QueryBatch] = {}

    async def close(self) -> None:
        """Stop probing the servers."""
        for server in self._servers:
            await server.close()

    async def search(self, vector: Matrix, k: int, deadline: float) -> FanOutResult:
        """The k nearest of each shard, all of one version; raises when no shard answered."""
        query = VectorQuery(vector, k)
        batch = self._batch_of(query)
        results = await batch.results(batch.add(query, deadline), deadline)
        self._learn(results)
        answers = [found for found in results if isinstance(found, ShardResult)]
        for version, digest in sorted({(one.version, one.version_digest) for one in answers}):
            others = [
                server
                for server, found in zip(self._servers, results, strict=True)
                if isinstance(found, ShardResult)
                and (found.version, found.version_digest) != (version, digest)
            ]
            if not others:
                break
            # a swap is under way, to a newer version or back: one of the two all still hold
            again = await self._ask_again(query._replace(version_digest=digest), others, deadline)
            answers += [found for found in again if isinstance(found, ShardResult)]
            if all(isinstance(found, ShardResult) for found in again):
                break
        failures = {i: error for i, error in enumerate(results) if isinstance(error, Exception)}
        return self._outcome(answers, failures)

    async def lookup(self, image_id: str, deadline: float) -> LookupReply:
        """The image of an id, from a server that holds its shard; raises what that raises."""
        shard = shard_of(parse_id(image_id)[0], self.shard_count)
        servers = list(zip(self._servers, self._holds, strict=True))
        holders = [server for server, held in servers if shard in held]
        try:
            return await _first(holders, lambda one, until: one.lookup(image_id, until), deadline)
        except ServiceError as error:
            if error.code != "wrong_shard":  # else they hold others than we had learnt
                raise
        others = [server for server, held in servers if shard not in held]
        return await _first(others, lambda one, until: one.lookup(image_id, until), deadline)

    async def info(self, deadline: float) -> Info:
        """What the index is, from the first server that answers; raises what the last raised."""
        return await _first(self._servers, lambda one, until: one.info(until), deadline)

    def _batch_of(self, query: VectorQuery) -> QueryBatch:
        """The batch of the queries that come in this pass of the loop."""
        batch = self._open.get(query.kind)
        if batch is None or len(batch.queries) == MAX_BATCH:
            batch = self._open[query.kind] = QueryBatch()
            asyncio.get_running_loop().call_soon(self._send, query.kind, batch)
        return batch

    def _send(self, kind: tuple[str | None, int], batch: QueryBatch) -> None:
        if self._open.get(kind) is batch:
            del self._open[kind]
        BATCH_SIZE.labels("fan-out").observe(len(batch.queries))
        batch.send(self._servers)

    async def _ask_again(
        self, query: VectorQuery, servers: Sequence[SearchServer], deadline: float
    ) -> list[ShardResult | Exception]:
        batch = QueryBatch()
        place = batch.add(query, deadline)
        batch.send(servers)
        return await batch.results(place, deadline)

    def _learn(self, results: Sequence[ShardResult | Exception]) -> None:
        for server, found in enumerate(results):
            if isinstance(found, ShardResult):
                self._holds[server] = list(found.shards)
                self.shard_count = found.shard_count

    def _outcome(self, answers: list[ShardResult], failures: dict[int, Exception]) -> FanOutResult:
        """The version that most shards answered from, the newest of equals, and its coverage."""
        by_version: dict[tuple[str, str, str, int], dict[int, Hits]] = {}
        for found in answers:
            # who names a version but means another index by it is not believed by the others
            named = (found.version, found.version_digest, found.space, found.shard_count)
            by_version.setdefault(named, {}).update(found.shards)
        if not any(by_version.values()):
            raise _why_none(list(failures.values()))
        best = max(by_version, key=lambda named: (len(by_version[named]), named))
        version, digest, space, total = best
        shards = by_version[best]
        late = [i for i, error in failures.items() if isinstance(error, DeadlineExceeded)]
        timeout = sum(len(self._holds[server]) for server in late)
        return FanOutResult(version, digest, space, shards, _coverage(total, len(shards), timeout))


def _coverage(total: int, answered: int, timeout: int) -> Coverage:
    missing = total - answered
    timeout = min(missing, timeout)
    counts = ShardCounts(total, answered, timeout, missing - timeout)
    return Coverage(counts, answered / total, missing > 0)


async def _first(
    servers: Sequence[SearchServer],
    ask: Callable[[SearchServer, float], Awaitable[Answer]],
    deadline: float,
) -> Answer:
    """The first answer; one that hangs leaves the others their share of the time."""
    failure: ServiceError = Unavailable("no search server holds this shard", "wrong_shard")
    for place, server in enumerate(servers):
        now = asyncio.get_running_loop().time()
        try:
            return await ask(server, now + (deadline - now) / (len(servers) - place))
        except ServiceError as error:
            if error.status < 500:
                raise
            failure = error
    raise failure


def _why_none(failures: Sequence[Exception]) -> ServiceError:
    """The error for a query that no shard answered: the client's own fault first."""
    told = [error for error in failures if isinstance(error, ServiceError)]
    for error in told:
        if error.status < 500 or error.code == "no_index":
            return error
    if told and all(isinstance(error, DeadlineExceeded) for error in told):
        return DeadlineExceeded("no shard answered within the deadline")
    return Unavailable("no shard answered", "no_shard")
