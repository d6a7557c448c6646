"""The plan of a fan-out follows what the servers tell and which replicas are in use."""

from typing import cast

from middle.planner import Planner
from search.client import SearchServer
from search.query_batch import Ask
from tests.unit.shards import FakeServer, down


def planner(*servers: FakeServer) -> Planner:
    """A planner that expects each server to hold the shards 7 and 8."""
    return Planner(cast("list[SearchServer]", servers), lambda _server, _count: [7, 8])


async def survey(one: Planner) -> None:
    await one.survey(1.0)


async def test_what_was_dealt_counts_before_a_server_has_told() -> None:
    """Also of a server that does not answer the survey."""
    servers = FakeServer([0, 1], shard_count=3), FakeServer([2], shard_count=3)
    servers[1].error = down()
    one = planner(*servers)
    assert [7, 8] == one.held(0)
    assert 2 == one.shard_count
    await survey(one)

    assert ([0, 1], [7, 8], 3) == (sorted(one.held(0)), one.held(1), one.shard_count)
    assert one.holders(cast(SearchServer, servers[0]), 1) == frozenset(servers[0].addresses)
    assert one.holders(cast(SearchServer, servers[1]), 2) is None


async def test_who_has_failed_is_not_asked_again() -> None:
    """Another holder is; nobody, if there is none."""
    servers = FakeServer([0, 1], shard_count=3), FakeServer([1, 2], shard_count=3)
    one = planner(*servers)
    await survey(one)
    asks = one.plan()
    (failed,) = [ask for ask in asks if ask.server == 0]

    assert [Ask(1, (1,), frozenset(servers[1].addresses))] == one.plan_again([1], [failed])
    assert [] == one.plan_again([0], [failed])
