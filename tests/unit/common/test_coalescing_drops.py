"""What a coalescer does not send: refused, expired and abandoned items, each counted once."""

import asyncio
import weakref
from typing import Any

import pytest

from common.errors import BadRequest, DeadlineExceeded, Overloaded, Unavailable
from tests.unit.batching import OUTCOMES, Server, coalescer, outcomes, since, soon


async def test_a_full_queue_refuses() -> None:
    """The item over the limit is refused at once; the others are not touched."""
    before = outcomes()
    batches = coalescer(Server(), max_queue=2)
    queued = [batches.submit(n, soon()) for n in range(2)]
    refused = batches.submit(2, soon())

    assert refused.done()
    with pytest.raises(Overloaded, match="full"):
        await refused
    assert await asyncio.gather(*queued) == [0, 10]
    assert since(before) == {"refused": 1, "ok": 2}


@pytest.mark.parametrize("refuse_late", [True, False])
async def test_what_would_wait_too_long_is_refused_where_that_is_asked_for(
    refuse_late: bool,
) -> None:
    """By the time that batches took: with two of them before it, half a second is too little."""
    batches = coalescer(Server(), max_batch=1, refuse_late=refuse_late)
    queued = [batches.submit(n, soon()) for n in range(4)]
    await queued[0]
    await asyncio.sleep(0.5)
    hasty = batches.submit(9, soon(0.5))
    patient = batches.submit(5, soon())

    assert hasty.done() == refuse_late
    with pytest.raises(Overloaded if refuse_late else DeadlineExceeded):
        await hasty
    assert await patient == 50


async def test_an_item_whose_deadline_passes_in_the_queue_is_not_sent() -> None:
    """It ends in DeadlineExceeded, and what waits behind it still goes."""
    before = outcomes()
    server = Server()
    batches = coalescer(server)
    first = batches.submit(0, soon())
    await asyncio.sleep(0.5)
    late, behind = batches.submit(1, soon(0.25)), batches.submit(2, soon())

    with pytest.raises(DeadlineExceeded):
        await late
    assert [*await asyncio.gather(first, behind)] == [0, 20]
    assert server.batches == [[0], [2]]
    assert since(before) == {"expired": 1, "ok": 2}


async def test_abandoned_items_are_not_sent_and_hold_nobody_up() -> None:
    """A sender that meets a whole batch of them goes on to what waits behind."""
    before = outcomes()
    server = Server()
    batches = coalescer(server, max_batch=2)
    first = batches.submit(0, soon())
    await asyncio.sleep(0.5)
    given_up = [batches.submit(n, soon()) for n in (1, 2)]
    behind = batches.submit(3, soon())
    for one in given_up:
        one.cancel()

    assert [*await asyncio.gather(first, behind)] == [0, 30]
    assert server.batches == [[0], [3]]
    assert since(before) == {"abandoned": 2, "ok": 2}


async def test_a_slot_is_free_again_after_nothing_but_abandoned_items() -> None:
    """What comes later is sent by a new sender."""
    batches = coalescer(Server())
    batches.submit(1, soon()).cancel()
    await asyncio.sleep(2)

    assert await batches.submit(2, soon()) == 20


async def test_giving_up_while_the_batch_is_under_way_ends_nobody_else() -> None:
    """The result of who gave up is dropped."""
    batches = coalescer(Server())
    stays, goes = batches.submit(1, soon()), batches.submit(2, soon())
    await asyncio.sleep(0.5)
    goes.cancel()

    assert await stays == 10


async def test_every_item_ends_in_exactly_one_outcome() -> None:
    """Whatever becomes of it: the counts add up to what was submitted."""
    before = outcomes()

    async def send(items: list[int], _deadline: float) -> list[int | Exception]:
        await asyncio.sleep(1)
        if any(item % 11 == 0 for item in items):
            raise Unavailable("eleven")
        return [BadRequest("no") if item % 7 == 0 else item for item in items]

    batches = coalescer(send, max_batch=4, max_queue=20, slots=2)
    futures = []
    for item in range(100):
        futures.append(batches.submit(item, soon(1 + item % 5)))
        if item % 3 == 0:
            futures[-1].cancel()
        await asyncio.sleep(0.05)
    await asyncio.gather(*futures, return_exceptions=True)
    await batches.wait_sent()

    ended = since(before)
    assert set(ended) == set(OUTCOMES)
    assert sum(ended.values()) == 100


async def test_what_is_queued_for_nobody_is_let_go() -> None:
    """A server that hangs keeps no images in memory for those who gave up."""

    class Image:
        pass

    batches: Any = coalescer(Server())
    first = batches.submit(0, soon())
    await asyncio.sleep(0.5)
    image = Image()
    there = weakref.ref(image)
    queued = batches.submit(image, soon())
    del image
    assert there()
    queued.cancel()
    await asyncio.sleep(0)

    assert there() is None
    assert await first == 0
