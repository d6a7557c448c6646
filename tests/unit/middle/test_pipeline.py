"""A query from what was asked to its hits, between an embedder and search servers."""

import asyncio

import msgspec
import pytest

from common.errors import BadRequest, Unavailable
from middle.messages import ShardCounts
from tests.unit.answering import Answering, paths
from tests.unit.shards import down, hits


async def test_a_text_is_embedded_searched_for_and_merged() -> None:
    """Best first over all shards, with how it came about."""
    asked = Answering()
    asked.servers[0].found = {0: hits((0.9, 2), (0.3, 4))}
    asked.servers[1].found = {1: hits((0.5, 1))}
    found = await asked.ask()

    assert paths(found) == ["2", "1"]
    assert found.outcome == "miss"
    assert found.answer.coverage.shards == ShardCounts(2, 2, 0, 0)
    assert (found.answer.index_version, found.answer.model) == ("v1", "clip")
    assert set(found.answer.took_ms) == {"embed", "search", "total"}


async def test_the_same_query_is_answered_from_the_cache() -> None:
    """With times of its own, and its age; from any thread, too."""
    asked = Answering()
    asked.servers[0].found = {0: hits((0.9, 2))}
    first = await asked.ask()
    await asyncio.sleep(5)
    second = await asked.ask()
    key = asked.key()
    assert key is not None
    peeked = asked.pipeline.peek(key)

    assert second.outcome == "hit"
    assert second.answer.hits == first.answer.hits
    assert second.answer.took_ms["search"] == 0.0
    assert peeked is not None
    assert peeked.answer.hits == first.answer.hits
    assert len(asked.asked()) == 1


async def test_equal_queries_at_the_same_time_are_one() -> None:
    """Both have the answer."""
    asked = Answering()
    both = await asyncio.gather(asked.ask(), asked.ask())

    assert [one.outcome for one in both] == ["miss", "join"]
    assert len(asked.asked()) == 1


async def test_a_bypass_asks_anew() -> None:
    """Of the embedder too."""
    asked = Answering()
    await asked.ask()

    assert (await asked.ask(bypass=True)).outcome == "bypass"
    assert asked.embedder.bypassed == [False, True]


@pytest.mark.parametrize("unknown", ["index", "model", "cache"])
async def test_without_all_that_a_key_needs_nothing_is_kept(unknown: str) -> None:
    """As before the first answer of the servers behind."""
    asked = Answering(cache="off" if unknown == "cache" else "memory")
    if unknown == "index":
        asked.state.known_index = None
    if unknown == "model":
        del asked.state.digests["clip"]

    assert asked.key() is None
    assert [(await asked.ask()).outcome for _ in range(2)] == ["bypass", "bypass"]


@pytest.mark.parametrize("change", ["degraded", "model", "index"])
async def test_what_is_not_whole_or_not_of_what_is_known_is_not_kept(change: str) -> None:
    """A degraded answer, or one that another model or index made."""
    asked = Answering()
    if change == "degraded":
        asked.servers[1].error = down()
    if change == "model":
        asked.embedder.embedded = asked.embedder.embedded._replace(digest="another")
    if change == "index":
        for server in asked.servers:
            server.versions = ["v2"]

    assert [(await asked.ask()).outcome for _ in range(2)] == ["miss", "miss"]


async def test_an_answer_from_before_a_write_is_not_kept_after_it() -> None:
    """The servers come to the write a little later; what they answer then is kept."""
    asked = Answering()
    assert (await asked.ask()).outcome == "miss"
    asked.state.known_position = 3
    assert [(await asked.ask()).outcome for _ in range(2)] == ["miss", "miss"]
    for server in asked.servers:
        server.position = 4
    found = [await asked.ask() for _ in range(2)]

    assert [(one.outcome, one.answer.position) for one in found] == [("miss", 4), ("hit", 4)]


async def test_an_image_that_was_looked_up_before_a_write_is_not_kept_after_it() -> None:
    """It may have been deleted by the write that its search has."""
    asked = Answering(text=None, id="0" * 32)
    asked.state.known_position = 1
    asking = asyncio.create_task(asked.ask())
    await asyncio.sleep(0.005)
    for server in asked.servers:
        server.position = 1
    found = await asking

    assert (found.outcome, found.answer.position, found.cache_version) == ("miss", 0, None)
    assert [(await asked.ask()).outcome for _ in range(2)] == ["miss", "hit"]


async def test_the_position_of_an_answer_is_the_least_of_its_shards() -> None:
    """All writes up to it are in the answer."""
    asked = Answering()
    asked.servers[0].position, asked.servers[1].position = 8, 5

    assert (await asked.ask()).answer.position == 5


async def test_a_query_for_a_position_is_sent_with_it_and_kept_by_it() -> None:
    """Who asks for a later position does not get the answer of an earlier one."""
    asked = Answering(min_position=2)
    for server in asked.servers:
        server.position = 2
    first = [(await asked.ask()).outcome for _ in range(2)]
    asked.query.min_position = 3
    for server in asked.servers:
        server.position = 3
    later = [(await asked.ask()).outcome for _ in range(2)]

    assert [first, later] == [["miss", "hit"]] * 2
    sent = [batch.queries[0].min_position for batch in asked.servers[0].batches]
    assert sent == [2, 3]


async def test_who_waits_for_a_position_gets_no_older_answer_of_others() -> None:
    """An equal query is under way, which has not waited for it."""
    asked = Answering()
    asked.state.known_position = 1
    waiting = msgspec.structs.replace(asked.query, min_position=1)
    key = asked.pipeline.key_of(waiting, None)
    deadline = asyncio.get_running_loop().time() + 5
    under_way = asyncio.create_task(asked.ask())
    await asyncio.sleep(1.005)  # it was embedded, and asks the servers
    answering = asyncio.create_task(asked.pipeline.answer(waiting, None, key, deadline))
    assert (await under_way).answer.position == 0
    for server in asked.servers:
        server.position = 1

    assert (await answering).answer.position == 1


async def test_too_little_of_the_index_is_no_answer() -> None:
    """By what is configured, and by what the query demands."""
    asked = Answering(min_coverage=0.6)
    asked.servers[1].error = down()
    with pytest.raises(Unavailable, match="1 of 2 shards") as told:
        await asked.ask()
    assert told.value.code == "insufficient_coverage"

    strict = Answering(require_full=True)
    strict.servers[1].error = down()
    with pytest.raises(Unavailable, match="1 of 2 shards"):
        await strict.ask()


async def test_shards_are_asked_again_where_they_may_hold_better_hits() -> None:
    """Copies used up what the first one gave: what it did not give is better than the other's."""
    asked = Answering(k=2, dedup="exact")
    asked.servers[0].found = {0: hits((0.9, 2), (0.9, 2), (0.8, 4))}
    asked.servers[1].found = {1: hits((0.1, 1))}
    found = await asked.ask()

    assert paths(found) == ["2", "4"]
    assert asked.asked() == [[2], [8]]
    assert len(asked.embedder.batches) == 1


@pytest.mark.parametrize("cache", ["memory", "off"])
async def test_a_hung_shard_costs_its_part_of_the_answer_only(cache: str) -> None:
    """At the deadline; also of who asks the same at the same time."""
    asked = Answering(cache=cache)
    asked.servers[1].after_s = 3600
    began = asyncio.get_running_loop().time()
    both = await asyncio.gather(asked.ask(seconds=5), asked.ask(seconds=4.99))

    assert asyncio.get_running_loop().time() - began == pytest.approx(5)
    assert [one.answer.coverage.shards for one in both] == [ShardCounts(2, 1, 1, 0)] * 2


async def test_what_was_found_is_the_answer_where_there_is_no_time_to_ask_again() -> None:
    """A hung server took it all: better a degraded answer than none."""
    asked = Answering(k=2, dedup="exact")
    asked.servers[0].found = {0: hits((0.9, 2), (0.9, 2), (0.8, 4))}
    asked.servers[1].after_s = 3600
    found = await asked.ask(seconds=5)

    assert paths(found) == ["2"]
    assert found.answer.coverage.shards == ShardCounts(2, 1, 1, 0)


async def test_a_shard_with_a_broken_record_is_left_out() -> None:
    """The others answer, and the answer says so."""
    asked = Answering()
    broken = hits((0.9, 2))
    broken.records[0] = msgspec.Raw(b"\xc1")
    asked.servers[0].found, asked.servers[1].found = {0: broken}, {1: hits((0.5, 1))}
    found = await asked.ask()

    assert paths(found) == ["1"]
    assert found.answer.coverage.shards == ShardCounts(2, 1, 0, 1)


@pytest.mark.parametrize("how", ["space", "length"])
async def test_an_index_of_another_model_is_told_as_such(how: str) -> None:
    """It is the operator's to mend, and the message says how."""
    asked = Answering()
    for server in asked.servers:
        if how == "space":
            server.space = "another"
        else:
            server.error = BadRequest("2 numbers, not 512", "wrong_length")
    with pytest.raises(Unavailable, match="run prepare again") as told:
        await asked.ask()

    assert told.value.code == "model_mismatch"
