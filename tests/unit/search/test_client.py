"""The client of a search server: what goes in one message, and whose the results are."""

import asyncio

import msgspec
import pytest

from common.errors import DeadlineExceeded, NotFound, Unavailable
from common.http_client import Reply
from search.client import MAX_BATCH, SearchServer
from search.messages import SearchRequest
from search.query_batch import Ask, ShardResult
from tests.unit.fake_http import saying
from tests.unit.search.holding import ADDRESS, ASK, Holding, batch, scores
from tests.unit.shards import VECTOR, lookup_reply


async def test_batches_that_come_meanwhile_share_a_message() -> None:
    """Each has its own results of it, in order."""
    holding = Holding()
    first = holding.server.submit(batch([0.5]), ASK)
    await asyncio.sleep(0.5)
    others = [holding.server.submit(batch(given), ASK) for given in ([0.25, 0.75], [1.0])]

    assert scores(await first) == [0.5]
    assert [scores(await one) for one in others] == [[0.25, 0.75], [1.0]]
    assert [one.ks for one in holding.requests] == [[3], [3, 3, 3]]


async def test_a_message_has_queries_of_one_version() -> None:
    """Another version's are a message of their own; where that fails the others do not."""
    holding = Holding()
    given = [
        holding.server.submit(batch([0.5], version_digest), ASK)
        for version_digest in (None, "old", "new", None)
    ]
    newest, old, new, other = await asyncio.gather(*given, return_exceptions=True)

    assert isinstance(old, Exception)
    assert str(old) == "gone"
    assert [type(one) for one in (newest, new, other)] == [list] * 3
    assert sorted(len(one.ks) for one in holding.requests) == [1, 1, 2]


async def test_a_message_names_the_shards_that_are_wanted() -> None:
    """Those of other shards are messages of their own; a reply tells who gave it."""
    holding = Holding()
    asks = ASK, Ask(0, (0,)), Ask(0, (3,))
    every, first, third = await asyncio.gather(
        *(holding.server.submit(batch([0.5]), ask) for ask in asks)
    )

    assert [None, [0], [3]] == [request.shards for request in holding.requests]
    assert [[0], [0], []] == [list(one.shards) for (one,) in (every, first, third)]
    assert {ADDRESS} == {one.replica for (one,) in (every, first, third)}


async def test_only_replicas_that_hold_a_shard_are_asked_for_it() -> None:
    """Though another may be quicker."""
    holding = Holding()
    other = "server-1:80"
    holding.http.answers[other] = holding.answer
    holding.http.probes[other] = saying()
    server = SearchServer("unit", [ADDRESS, other], holding.http.client)
    for _ in range(8):
        await server.submit(batch([0.5]), Ask(0, (0,), frozenset([other])))
    found = await server.infos(5.0)

    assert {other} == {sent.address for sent in holding.http.sent if sent.request.body}
    assert {ADDRESS: [0], other: [0]} == {name: info.shards for name, info in found.items()}
    await server.close()


async def test_who_needs_what_is_there_does_not_wait_for_who_needs_more() -> None:
    """A server that lags behind the log answers those at once whose writes it has told to have."""
    holding = Holding()
    holding.position = 100
    await holding.server.submit(batch([0.5]), ASK)
    ahead = holding.server.submit(batch([0.5], min_position=101), ASK)
    began = asyncio.get_running_loop().time()
    found = await holding.server.submit(batch([0.25], min_position=100), ASK)

    assert scores(found) == [0.25]
    assert asyncio.get_running_loop().time() - began == pytest.approx(holding.after_s)
    with pytest.raises(DeadlineExceeded):
        await ahead


async def test_those_whose_writes_are_there_go_in_one_message() -> None:
    """With those that need none, and with the last position that one of them needs."""
    holding = Holding()
    holding.position = 100
    await holding.server.submit(batch([0.5]), ASK)
    positions = 90, 0, 100, 95
    given = [holding.server.submit(batch([0.5], min_position=one), ASK) for one in positions]
    await asyncio.gather(*given)

    assert [(1, 0), (4, 100)] == [(len(sent.ks), sent.min_position) for sent in holding.requests]


async def test_messages_have_a_limit() -> None:
    """Of batches that go together."""
    holding = Holding()
    given = [holding.server.submit(batch([0.5]), ASK) for _ in range(MAX_BATCH + 1)]
    await asyncio.gather(*given)

    assert [len(one.ks) for one in holding.requests] == [MAX_BATCH, 1]


async def test_a_reply_without_a_digest_is_not_believed() -> None:
    """A flipped bit would be another hit."""
    holding = Holding()

    async def undigested() -> Reply:
        return (await holding.answer())._replace(headers={})

    holding.http.answers[ADDRESS] = undigested
    with pytest.raises(Unavailable, match="changed on the way"):
        await holding.server.submit(batch([0.5]), ASK)


async def test_an_image_and_what_is_held_are_asked_for_alone() -> None:
    """They wait for no batch."""
    server = Holding().server
    soon = asyncio.get_running_loop().time() + 5

    assert await server.lookup("0" * 32, soon) == lookup_reply()
    assert (await server.info(soon)).images == 7
    await server.close()


async def test_a_batch_gives_each_query_its_result_of_each_server() -> None:
    """Where one has none by the query's deadline, that is its result."""
    quick, slow = Holding(), Holding()
    slow.after_s = 5.0
    one = batch([0.25, 0.5])
    one.send([quick.server, slow.server], [Ask(0), Ask(1)])
    now = asyncio.get_running_loop().time()
    hasty, patient = await asyncio.gather(one.results(0, now + 2), one.results(1, now + 8))

    assert isinstance(hasty[0], ShardResult)
    assert isinstance(hasty[1], DeadlineExceeded)
    assert scores([found for found in patient if isinstance(found, ShardResult)]) == [0.5, 0.5]


async def test_what_is_queued_for_nobody_is_not_sent() -> None:
    """A server that is behind is not asked for what nobody waits for any more."""
    holding = Holding()
    holding.after_s = 5.0
    first = holding.server.submit(batch([0.5]), ASK)
    await asyncio.sleep(0.5)
    queued = batch([0.25], seconds=1.0)
    queued.send([holding.server], [Ask(0)])
    (late,) = await queued.results(0, asyncio.get_running_loop().time() + 1)
    await first

    assert isinstance(late, DeadlineExceeded)
    assert len(holding.requests) == 1


async def test_a_batch_is_packed_once() -> None:
    """For all servers, which all hash and send the same bytes."""
    one = batch([0.25, 0.5], "digest")

    assert one.body is one.body
    decoded = msgspec.msgpack.decode(one.body.body, type=SearchRequest)
    assert (decoded.dim, decoded.ks, decoded.version_digest) == (
        len(VECTOR),
        [3, 3],
        "digest",
    )
    assert one.queries[0].kind == ("digest", 2, b"", 0)


async def test_an_error_of_a_server_is_each_query_s() -> None:
    """As what it says of a version that it does not hold."""
    holding = Holding()
    one = batch([0.25, 0.5], "old")
    one.send([holding.server], [Ask(0)])
    soon = asyncio.get_running_loop().time() + 5
    found = await asyncio.gather(one.results(0, soon), one.results(1, soon))

    assert [getattr(error, "code", "") for (error,) in found] == ["no_such_version"] * 2
    assert not isinstance(found[0][0], NotFound | ShardResult)
