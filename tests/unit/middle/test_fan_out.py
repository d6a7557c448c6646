"""Asking all search servers: together, until the deadline, all of one version."""

import asyncio

import pytest

from common.config import Search
from common.errors import (
    BadRequest,
    DeadlineExceeded,
    NotImplementedHere,
    ServiceError,
    Unavailable,
)
from middle.fan_out import MAX_BATCH, FanOut
from middle.fan_out_result import FanOutResult
from middle.messages import ShardCounts
from search.messages import Hits
from tests.unit.shards import VECTOR, FakeServer, down, fan_out_of, hits


async def search(fan_out: FanOut, seconds: float = 5.0, k: int = 3) -> FanOutResult[Hits]:
    return await fan_out.search(VECTOR, k, 2 * k, asyncio.get_running_loop().time() + seconds)


def elapsed(began: float) -> float:
    return asyncio.get_running_loop().time() - began


async def test_all_shards_are_asked_and_counted() -> None:
    """Each server's, at the same time."""
    servers = FakeServer([0], after_s=1), FakeServer([1], after_s=1)
    servers[1].found = {1: hits((0.5, 1))}
    began = asyncio.get_running_loop().time()
    found = await search(fan_out_of(*servers))

    assert elapsed(began) == pytest.approx(1)
    assert found.coverage.shards == ShardCounts(2, 2, 0, 0)
    assert not found.coverage.degraded
    assert (found.version, found.version_digest, found.space) == (
        "v1",
        "digest of v1",
        "space",
    )
    assert len(found.shards[1].records) == 1


async def test_the_queries_of_one_pass_of_the_loop_are_one_batch() -> None:
    """For every server the same; what comes later is another."""
    servers = FakeServer([0]), FakeServer([1])
    fan_out = fan_out_of(*servers)
    await asyncio.gather(*(search(fan_out, k=n) for n in (1, 2, 3)))
    await search(fan_out)

    assert [[query.k for query in one.queries] for one in servers[0].batches] == [[1, 2, 3], [3]]
    assert servers[0].batches == servers[1].batches


async def test_a_batch_of_queries_has_a_limit() -> None:
    """The rest makes another one."""
    server = FakeServer([0, 1])
    fan_out = fan_out_of(server)
    await asyncio.gather(*(search(fan_out) for _ in range(MAX_BATCH + 1)))

    assert [len(batch.queries) for batch in server.batches] == [MAX_BATCH, 1]


async def test_a_hung_server_costs_the_deadline_and_is_told_as_late() -> None:
    """The other shards answer, and the answer says that it is not from all."""
    fan_out = fan_out_of(FakeServer([0]), FakeServer([1], after_s=3600))
    began = asyncio.get_running_loop().time()
    found = await search(fan_out, seconds=2)

    assert elapsed(began) == pytest.approx(2)
    assert found.coverage.shards == ShardCounts(2, 1, 1, 0)
    assert found.coverage.fraction == 0.5
    assert found.coverage.degraded
    assert list(found.shards) == [0]


async def test_a_server_that_fails_costs_no_time() -> None:
    """Its shard is told as failed."""
    servers = FakeServer([0]), FakeServer([1])
    servers[1].error = down()
    began = asyncio.get_running_loop().time()
    found = await search(fan_out_of(*servers))

    assert elapsed(began) == pytest.approx(0.01)
    assert found.coverage.shards == ShardCounts(2, 1, 0, 1)


async def test_a_query_with_little_time_ends_no_other_of_its_batch() -> None:
    """The batch has the latest deadline, and each query leaves at its own."""
    server = FakeServer([0, 1], after_s=2)
    fan_out = fan_out_of(server)
    hasty = asyncio.ensure_future(search(fan_out, seconds=1))
    patient = asyncio.ensure_future(search(fan_out, seconds=3))
    began = asyncio.get_running_loop().time()

    with pytest.raises(DeadlineExceeded):
        await hasty
    assert elapsed(began) == pytest.approx(1)
    assert (await patient).coverage.shards.ok == 2
    assert server.cancelled == 0
    assert server.batches[0].deadline == pytest.approx(began + 3)


async def test_what_nobody_waits_for_any_more_is_cancelled() -> None:
    """Whether by their deadlines or because those who asked have gone; not before the last."""
    server = FakeServer([0, 1], after_s=10)
    fan_out = fan_out_of(server)
    hasty = asyncio.ensure_future(search(fan_out, seconds=1))
    gone = asyncio.ensure_future(search(fan_out, seconds=5))
    await asyncio.sleep(2)
    assert isinstance(hasty.exception(), DeadlineExceeded)
    assert server.cancelled == 0
    gone.cancel()
    await asyncio.sleep(0.1)

    assert server.cancelled == 1


@pytest.mark.parametrize(
    ("left", "right", "agreed"),
    [
        (["v2", "v1"], ["v1"], "v1"),
        (["v2"], ["v1", "v2"], "v2"),
        (["v2", "v1"], ["v1", "v2"], "v1"),
    ],
    ids=["one has not swapped", "one came back", "both hold both"],
)
async def test_servers_agree_on_a_version_that_all_hold(
    left: list[str], right: list[str], agreed: str
) -> None:
    """Who answered from another one is asked again, and only that one."""
    servers = FakeServer([0], left), FakeServer([1], right)
    found = await search(fan_out_of(*servers))

    assert found.version == agreed
    assert found.coverage.shards.ok == 2
    assert sum(len(server.batches) for server in servers) <= 4


async def test_without_a_version_in_common_the_newest_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of as many shards; the other ones are told as failed, and a line in the log says why."""
    caplog.set_level("INFO", "request")
    servers = FakeServer([0], ["v1"]), FakeServer([1], ["v2"])
    found = await search(fan_out_of(*servers))

    assert found.version == "v2"
    assert found.coverage.shards == ShardCounts(2, 1, 0, 1)
    old, new = (server.addresses[0] for server in servers)
    assert [f"shards are missing: {old} gave [0] of v1, {new} gave [1] of v2"] == caplog.messages


async def test_the_version_of_most_shards_answers() -> None:
    """Though it is the older one."""
    servers = FakeServer([0, 1], ["v1"], shard_count=3), FakeServer([2], ["v2"], shard_count=3)
    found = await search(fan_out_of(*servers))

    assert (found.version, found.coverage.shards.ok) == ("v1", 2)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([BadRequest("dim", "wrong_length"), down()], "wrong_length"),
        ([down(), Unavailable("none", "no_index")], "no_index"),
        ([down(), Unavailable("late", "behind")], "behind"),
        ([DeadlineExceeded("a"), DeadlineExceeded("b")], "deadline_exceeded"),
        ([DeadlineExceeded("a"), down()], "no_shard"),
        ([ValueError("a"), ValueError("b")], "no_shard"),
    ],
)
async def test_why_no_shard_answered(errors: list[Exception], code: str) -> None:
    """The client's own fault first."""
    servers = FakeServer([0]), FakeServer([1])
    for server, error in zip(servers, errors, strict=True):
        server.error = error
    with pytest.raises(ServiceError) as told:
        await search(fan_out_of(*servers))

    assert told.value.code == code


async def test_what_servers_hold_is_learnt_from_their_answers() -> None:
    """A hung one counts for the shards that it had, not for those that it was dealt."""
    servers = FakeServer([0, 1, 2], shard_count=4), FakeServer([3], shard_count=4)
    fan_out = FanOut(servers, Search(("a:1", "b:1")).shards_of)  # type: ignore[arg-type]
    assert fan_out.shard_count == 2
    await search(fan_out)
    servers[0].after_s = 3600
    found = await search(fan_out)

    assert fan_out.shard_count == 4
    assert found.coverage.shards == ShardCounts(4, 1, 3, 0)


async def test_a_server_that_never_answered_counts_for_what_it_is_dealt() -> None:
    """Of the shards that the index has, as the other server tells."""
    servers = FakeServer([0, 2, 4], shard_count=6), FakeServer([1, 3, 5], after_s=3600)
    fan_out = FanOut(servers, Search(("a:1", "b:1")).shards_of)  # type: ignore[arg-type]

    assert (await search(fan_out)).coverage.shards == ShardCounts(6, 3, 3, 0)


async def test_a_server_without_a_shard_is_not_missed() -> None:
    """As while an index of one shard is in two servers."""
    servers = FakeServer([0], shard_count=1), FakeServer([], shard_count=1)

    assert (await search(fan_out_of(*servers))).coverage.shards == ShardCounts(1, 1, 0, 0)


async def test_a_shard_can_be_left_out_afterwards() -> None:
    """The last one cannot."""
    found = (await search(fan_out_of(FakeServer([0]), FakeServer([1])))).without(0)
    assert found.coverage.shards == ShardCounts(2, 1, 0, 1)
    assert list(found.shards) == [1]
    with pytest.raises(Unavailable, match="no shard"):
        found.without(1)


async def test_a_hung_server_leaves_others_their_share_of_the_time() -> None:
    """What any of them can tell, another one tells."""
    servers = FakeServer([0], after_s=3600), FakeServer([1])
    info = await fan_out_of(*servers).info(asyncio.get_running_loop().time() + 4)

    assert info.version_digest == "digest of v1"


async def test_closing_closes_all_servers() -> None:
    """So that nothing is probed any more."""
    servers = FakeServer([0]), FakeServer([1])
    await fan_out_of(*servers).close()

    assert all(server.is_closed for server in servers)


async def test_without_search_servers_nothing_is_searched() -> None:
    """A system that only embeds says so, whatever is asked of an index."""
    fan_out, deadline = fan_out_of(), asyncio.get_running_loop().time() + 1

    assert not fan_out.has_servers
    for asking in (search(fan_out), fan_out.lookup("0" * 32, deadline), fan_out.info(deadline)):
        with pytest.raises(NotImplementedHere, match="only embeds"):
            await asking
