"""The plan of a fan-out: which search server is asked for which shards."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from middle.holdings import Holdings
from search.client import SearchServer
from search.messages import Sharding
from search.query_batch import Ask, ShardResult

Deal = Callable[[int, int], list[int]]
"""Gives the shards that a server holds, from its number and the shard count of the index."""


class Planner:
    """Knows what the replicas of all search servers hold. Belongs to one event loop."""

    def __init__(self, servers: Sequence[SearchServer], deal: Deal) -> None:
        """`deal` counts for a server until it has told which shards it holds."""
        self._servers = servers
        self._deal = deal
        self._holdings = Holdings()
        self.shard_count = max(1, len(servers))
        """Of the index, as replies tell; before the first reply, the least that prepare chooses."""
        self.sharding: Sharding = "range"

    def plan(self) -> list[Ask]:
        """What to ask the servers for."""
        in_use = self._in_use()
        self._holdings.doubt_others([replica for replicas in in_use for replica in replicas])
        return self._holdings.plan(in_use, self.shard_count)

    def plan_again(self, missing: Iterable[int], failed: Collection[Ask]) -> list[Ask]:
        """Whom to ask for the shards that a result lacks: replicas that have not failed."""
        in_use = self._in_use()
        for ask in failed:
            tried = in_use[ask.server] if ask.among is None else ask.among
            in_use[ask.server] = [left for left in in_use[ask.server] if left not in tried]
        return self._holdings.plan_again(in_use, missing)

    def held(self, server: int) -> list[int]:
        """The shards of a server, as far as is known."""
        held = self._holdings.of(self._servers[server].addresses)
        return list(held) or self._deal(server, self.shard_count)

    def holders(self, server: SearchServer, shard: int) -> frozenset[str] | None:
        """The replicas of a server that hold a shard; None: that is not known of any."""
        return self._holdings.holders(server.addresses, shard) or None

    def learn(self, asks: Sequence[Ask], results: Sequence[ShardResult[Any] | Exception]) -> None:
        """Note what the replicas hold that have answered."""
        for ask, found in zip(asks, results, strict=True):
            if isinstance(found, ShardResult):
                self._holdings.learn(found.replica, found.shard_count, found.shards, ask.shards)
                self.shard_count, self.sharding = found.shard_count, found.sharding

    async def survey(self, timeout_s: float) -> None:
        """Ask each replica what it holds; those that do not answer stay as they were known."""
        surveys = [server.infos(timeout_s) for server in self._servers]
        for found in await asyncio.gather(*surveys):
            for replica, info in found.items():
                self._holdings.learn(replica, info.shard_count, info.shards)
                self.shard_count, self.sharding = info.shard_count, info.sharding

    def _in_use(self) -> list[list[str]]:
        return [server.in_use() for server in self._servers]
