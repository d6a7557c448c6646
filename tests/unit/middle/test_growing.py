"""Servers are added and removed: who holds a shard is asked for it, and no answer lacks it."""

import asyncio

import pytest

from middle.fan_out import FanOut
from middle.fan_out_result import FanOutResult
from middle.messages import ShardCounts
from search.messages import Hits
from tests.unit.shards import VECTOR, FakeServer, down, fan_out_of


async def search(fan_out: FanOut, seconds: float = 5.0) -> FanOutResult[Hits]:
    return await fan_out.search(VECTOR, 3, 6, asyncio.get_running_loop().time() + seconds)


def growing() -> tuple[FakeServer, FakeServer, FakeServer]:
    """Three servers, of which the third has just taken a shard of the first."""
    old, other, new = (FakeServer(held, shard_count=4) for held in ([0, 1, 2], [3], [1]))
    return old, other, new


async def test_while_servers_are_added_each_shard_is_asked_of_one_holder() -> None:
    """What they hold is known from a survey; the answer has each shard once."""
    servers = growing()
    fan_out = fan_out_of(*servers)
    await fan_out.survey(1.0)
    await search(fan_out)
    found = await search(fan_out)

    assert found.coverage.shards == ShardCounts(4, 4, 0, 0)
    named = [shard for server in servers for shard in server.asks[-1].shards or ()]
    assert [0, 1, 2, 3] == sorted(named)


@pytest.mark.parametrize("loser", [0, 1])
async def test_what_a_server_holds_no_more_is_asked_of_another(loser: int) -> None:
    """Within the query; whichever of the two holders is asked first."""
    servers = growing()
    servers[1].shards = [2, 3]
    fan_out = fan_out_of(*servers)
    await fan_out.survey(1.0)
    servers[loser].shards.remove(2)
    found = await search(fan_out)

    assert found.coverage.shards == ShardCounts(4, 4, 0, 0)


async def test_what_a_server_that_fails_holds_is_asked_of_another_holder() -> None:
    """If there is one."""
    old, other, new = growing()
    fan_out = fan_out_of(old, other, new)
    new.shards = [0, 1, 2]
    await fan_out.survey(1.0)
    old.error = down()
    assert not (await search(fan_out)).coverage.degraded
    other.error = down()

    assert (await search(fan_out)).coverage.shards == ShardCounts(4, 3, 0, 1)


async def test_a_hung_holder_costs_the_deadline_and_no_more() -> None:
    """What it was asked for is told as late, not asked again."""
    old, other, new = growing()
    fan_out = fan_out_of(old, other, new)
    new.shards = [0, 1, 2]
    await fan_out.survey(1.0)
    old.after_s = 3600
    began = asyncio.get_running_loop().time()
    found = await search(fan_out, seconds=2)

    assert asyncio.get_running_loop().time() - began == pytest.approx(2)
    assert found.coverage.shards.timeout == found.coverage.shards.total - found.coverage.shards.ok
