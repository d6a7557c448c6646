"""The fan-out of a query to all search servers, and the coverage of the answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from common.errors import DeadlineExceeded, NotImplementedHere, ServiceError
from common.logs import REQUESTS as REQUEST_LINES
from common.metrics import BATCH_SIZE
from common.wire import Matrix
from middle.fan_out_result import FanOutResult, result_of
from middle.first_answer import any_answer, first_answer
from middle.planner import Deal, Planner
from search.browse_messages import BrowseRequest, CountRequest, Counts, Listed
from search.client import SearchServer
from search.filter import Filter
from search.image_key import is_short, parse_id, shard_of
from search.messages import Hits, Info, LookupReply
from search.query_batch import Ask, QueryBatch, QueryKind, Result, ShardResult, VectorQuery

log = logging.getLogger(REQUEST_LINES)

Found = TypeVar("Found")
Asks = Sequence[Ask]
Told = ShardResult[Found] | Exception
MAX_BATCH = 256
"""Queries in one message, more than a worker of middle usually has under way."""


class FanOut:
    """Queries all search servers. Belongs to one event loop."""

    def __init__(self, servers: Sequence[SearchServer], deal: Deal) -> None:
        """`deal` counts for a server until it has replied, and said which shards it holds."""
        self._servers = servers
        self._planner = Planner(servers, deal)
        self._open: dict[QueryKind, QueryBatch] = {}

    @property
    def shard_count(self) -> int:
        """Of the index, as replies tell; before the first reply, the least that prepare chooses."""
        return self._planner.shard_count

    @property
    def has_servers(self) -> bool:
        """Whether there is anything to search in."""
        return bool(self._servers)

    async def close(self) -> None:
        """Stop probing the servers."""
        for server in self._servers:
            await server.close()

    async def search(
        self,
        vector: Matrix,
        k: int,
        most: int,
        deadline: float,
        passing: Filter | None = None,
        min_position: int = 0,
    ) -> FanOutResult[Hits]:
        """The k nearest of each shard that pass, of one version; raises if no shard answered.

        Of them a server gives the best `most` of all its shards. It answers once it has come to
        `min_position` in the log.
        """
        self._check()
        query = VectorQuery(vector, k, most, filter=passing, min_position=min_position)
        batch = self._batch_of(query)
        results = await batch.results(batch.add(query, deadline), deadline)

        async def ask(asks: Asks, version: str | None) -> list[Result | Exception]:
            batch = QueryBatch()
            place = batch.add(query._replace(version_digest=version), deadline)
            batch.send(self._servers, asks)
            return await batch.results(place, deadline)

        return await self._of_one_version(batch.asks, results, ask, deadline)

    async def browse(self, message: BrowseRequest, deadline: float) -> FanOutResult[list[Listed]]:
        """The next images of each shard, of one version; raises if no shard answered."""
        return await self._ask_all(
            lambda ask, version: self._servers[ask.server].browse(
                replace(message, version_digest=version), deadline, ask.among
            ),
            deadline,
        )

    async def counts(self, message: CountRequest, deadline: float) -> FanOutResult[Counts]:
        """The counts of each shard, of one version; raises if no shard answered."""
        return await self._ask_all(
            lambda ask, version: self._servers[ask.server].counts(
                replace(message, version_digest=version), deadline, ask.among
            ),
            deadline,
        )

    async def lookup(self, image_id: str, deadline: float, min_position: int = 0) -> LookupReply:
        """The indexed image of an id, from a server with its shard; raises that server's error.

        It has come to `min_position` in the log. The start of an id that makes its number may be
        in any shard.
        """
        self._check()

        def ask(server: SearchServer, deadline: float) -> Awaitable[LookupReply]:
            return server.lookup(image_id, deadline, min_position)

        if is_short(image_id):
            return await any_answer(self._servers, ask, deadline)
        shard = shard_of(parse_id(image_id)[0], self.shard_count, self._planner.sharding)
        servers = [(server, self._planner.held(i)) for i, server in enumerate(self._servers)]
        holders = [server for server, held in servers if shard in held]

        def ask_holder(server: SearchServer, deadline: float) -> Awaitable[LookupReply]:
            among = self._planner.holders(server, shard)
            return server.lookup(image_id, deadline, min_position, among)

        try:
            return await first_answer(holders, ask_holder, deadline)
        except ServiceError as error:
            if error.code != "wrong_shard":  # wrong_shard: the servers hold other shards now
                raise
        others = [server for server, held in servers if shard not in held]
        return await first_answer(others, ask, deadline)

    async def info(self, deadline: float) -> Info:
        """The facts of the index, from the first server that answers; raises the last error."""
        self._check()
        return await first_answer(
            self._servers, lambda server, deadline: server.info(deadline), deadline
        )

    async def infos(self, deadline: float) -> list[Info]:
        """The facts that each server tells which answers; raises an error if none does."""
        self._check()
        asking = (server.info(deadline) for server in self._servers)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, ServiceError):
                raise answer
        found = [answer for answer in answers if isinstance(answer, Info)]
        if not found:
            raise next(answer for answer in answers if isinstance(answer, ServiceError))
        return found

    async def survey(self, timeout_s: float) -> None:
        """Learn what each replica holds, from those that answer in time."""
        await self._planner.survey(timeout_s)

    def _check(self) -> None:
        if not self.has_servers:
            raise NotImplementedHere(
                "this server only embeds: whoever runs it can set Search.server-list, and prepare"
            )

    def _batch_of(self, query: VectorQuery) -> QueryBatch:
        """The batch of this pass of the loop, for queries of the same kind."""
        batch = self._open.get(query.kind)
        if batch is None or len(batch.queries) == MAX_BATCH:
            batch = self._open[query.kind] = QueryBatch()
            asyncio.get_running_loop().call_soon(self._send, query.kind, batch)
        return batch

    def _send(self, kind: QueryKind, batch: QueryBatch) -> None:
        if self._open.get(kind) is batch:
            del self._open[kind]
        BATCH_SIZE.labels("fan-out").observe(len(batch.queries))
        batch.send(self._servers, self._planner.plan())

    async def _ask_all(
        self,
        ask_one: Callable[[Ask, str | None], Awaitable[ShardResult[Found]]],
        deadline: float,
    ) -> FanOutResult[Found]:
        """What each server answers to a question that is sent alone."""
        self._check()

        async def ask(asks: Asks, version: str | None) -> list[Told[Found]]:
            asking = (ask_one(ask, version) for ask in asks)
            found = await asyncio.gather(*asking, return_exceptions=True)
            return [_no_signal(answer) for answer in found]

        asks = self._planner.plan()
        return await self._of_one_version(asks, await ask(asks, None), ask, deadline)

    async def _of_one_version(
        self,
        asks: Asks,
        results: Sequence[Told[Found]],
        ask: Callable[[Asks, str], Awaitable[Sequence[Told[Found]]]],
        deadline: float,
    ) -> FanOutResult[Found]:
        """The results of one version; servers that have answered of another one are asked again.

        Then other holders of what is missing are asked, if there is time.
        """
        self._planner.learn(asks, results)
        answers = [found for found in results if isinstance(found, ShardResult)]
        for version, digest in sorted({(found.version, found.version_digest) for found in answers}):
            others = [
                asked
                for asked, found in zip(asks, results, strict=True)
                if isinstance(found, ShardResult)
                and (found.version, found.version_digest) != (version, digest)
            ]
            if not others:
                break
            # During a swap, all servers still hold one of the two versions: ask the others for it.
            again = await ask(others, digest)
            answers += [found for found in again if isinstance(found, ShardResult)]
            if all(isinstance(found, ShardResult) for found in again):
                break
        failures = {
            asked: error
            for asked, error in zip(asks, results, strict=True)
            if isinstance(error, Exception)
        }
        late = [asked for asked, error in failures.items() if isinstance(error, DeadlineExceeded)]
        timeout = sum(len(asked.shards or self._planner.held(asked.server)) for asked in late)
        result = result_of(answers, list(failures.values()), timeout)
        missing = set(range(result.coverage.shards.total)) - result.shards.keys()
        others = self._planner.plan_again(missing, failures) if missing else []
        if others and asyncio.get_running_loop().time() < deadline:
            again = await ask(others, result.version_digest)
            answers += [found for found in again if isinstance(found, ShardResult)]
            result = result_of(answers, list(failures.values()), timeout)
        if result.coverage.degraded and not failures:  # Upstream logs failures
            told = (f"{it.replica} gave {sorted(it.shards)} of {it.version}" for it in answers)
            log.info("shards are missing: %s", ", ".join(told))
        return result


def _no_signal(found: Found | BaseException) -> Found | Exception:
    """What a server has answered; raises what ends the process or the caller."""
    if isinstance(found, BaseException) and not isinstance(found, Exception):
        raise found
    return found
