"""The coalescer: together what comes while a batch is under way, and one end for every item."""

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

import pytest

from common.coalescing import Coalescer
from common.errors import BadRequest, DeadlineExceeded, Overloaded, Unavailable
from common.origin import ORIGIN, Origin
from tests.unit.counting import counted

ITEMS = "clip_search_batch_items_total"
OUTCOMES = ("refused", "abandoned", "expired", "ok", "failed")


def soon(seconds: float = 60.0) -> float:
    return asyncio.get_running_loop().time() + seconds


class Server:
    """Takes a second for each batch, and remembers it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.deadlines: list[float] = []
        self.request_ids: list[str] = []

    async def __call__(self, items: list[int], deadline: float) -> Sequence[int | Exception]:
        self.batches.append(items)
        self.deadlines.append(deadline)
        self.request_ids.append(ORIGIN.get().request_ids)
        await asyncio.sleep(1)
        return [10 * item for item in items]


def coalescer(send: Any, **settings: Any) -> Coalescer[int, int]:
    return Coalescer("unit", send, **{"slots": 1, "max_batch": 8, "max_queue": 64, **settings})


def outcomes() -> dict[str, float]:
    return {name: counted(ITEMS, batcher="unit", outcome=name) for name in OUTCOMES}


def since(before: dict[str, float]) -> dict[str, float]:
    return {name: n - before[name] for name, n in outcomes().items() if n != before[name]}


async def test_an_item_goes_at_once_while_nothing_is_under_way() -> None:
    """It waits for no timer: its result is there as soon as the server has it."""
    batches = coalescer(Server())
    began = asyncio.get_running_loop().time()

    assert await batches.submit(1, soon()) == 10
    assert asyncio.get_running_loop().time() - began == pytest.approx(1)


async def test_what_comes_in_one_pass_of_the_loop_goes_together() -> None:
    """A request with many items makes one batch of them."""
    server = Server()
    batches = coalescer(server)

    assert await asyncio.gather(*(batches.submit(n, soon()) for n in range(3))) == [0, 10, 20]
    assert server.batches == [[0, 1, 2]]


async def test_what_comes_meanwhile_is_the_next_batch() -> None:
    """While the only slot is busy the queue grows; then it goes whole, and in order."""
    server = Server()
    batches = coalescer(server)
    first = batches.submit(0, soon())
    await asyncio.sleep(0.5)
    others = [batches.submit(n, soon()) for n in (1, 2, 3)]

    assert await asyncio.gather(first, *others) == [0, 10, 20, 30]
    assert server.batches == [[0], [1, 2, 3]]


async def test_two_slots_are_two_batches_at_a_time() -> None:
    """The second batch does not wait for the first."""
    server = Server()
    batches = coalescer(server, slots=2)
    began = asyncio.get_running_loop().time()
    first = batches.submit(0, soon())
    await asyncio.sleep(0.5)
    await asyncio.gather(first, batches.submit(1, soon()))

    assert asyncio.get_running_loop().time() - began == pytest.approx(1.5)


async def test_a_batch_has_a_limit() -> None:
    """No more than max_batch items go together."""
    server = Server()
    batches = coalescer(server, max_batch=2)
    await asyncio.gather(*(batches.submit(n, soon()) for n in range(5)))

    assert server.batches == [[0, 1], [2, 3], [4]]


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
    assert await asyncio.gather(first, behind) == [0, 20]
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

    assert await asyncio.gather(first, behind) == [0, 30]
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


async def test_a_batch_that_fails_fails_all_its_items_and_no_other() -> None:
    """Everyone gets the error; the next batch is sent all the same."""
    before = outcomes()

    async def send(items: list[int], _deadline: float) -> list[int]:
        if 13 in items:
            raise Unavailable("thirteen")
        return items

    batches = coalescer(send)
    bad = await asyncio.gather(
        *(batches.submit(n, soon()) for n in (13, 1)), return_exceptions=True
    )

    assert [str(one) for one in bad] == ["thirteen", "thirteen"]
    assert await batches.submit(2, soon()) == 2
    assert since(before) == {"failed": 2, "ok": 1}


async def test_one_exception_among_the_results_fails_its_item_alone() -> None:
    """The others of the batch have their results."""
    before = outcomes()

    async def send(items: list[int], _deadline: float) -> list[int | Exception]:
        return [BadRequest("odd") if item % 2 else item for item in items]

    batches = coalescer(send)
    odd, even = batches.submit(1, soon()), batches.submit(2, soon())

    with pytest.raises(BadRequest, match="odd"):
        await odd
    assert await even == 2
    assert since(before) == {"failed": 1, "ok": 1}


async def test_a_wrong_number_of_results_is_an_error_and_not_a_mix_up() -> None:
    """None of the items gets the result of another."""

    async def send(items: list[int], _deadline: float) -> list[int]:
        return items[1:]

    batches = coalescer(send)
    results = await asyncio.gather(
        *(batches.submit(n, soon()) for n in range(3)), return_exceptions=True
    )

    assert {str(one) for one in results} == {"unit: 2 results for 3 items"}


async def test_a_batch_has_the_latest_deadline_of_its_items() -> None:
    """One that has little time does not take it from the others."""
    server = Server()
    batches = coalescer(server)
    latest = soon(30)
    await asyncio.gather(batches.submit(1, soon(5)), batches.submit(2, latest))

    assert server.deadlines == [latest]


async def test_a_batch_works_for_the_requests_of_all_its_items() -> None:
    """The server is told the ids of all of them."""
    server = Server()
    batches = coalescer(server)
    futures = []
    for item, name in enumerate("abc"):
        context = copy_context()
        context.run(ORIGIN.set, Origin(name))
        futures.append(context.run(batches.submit, item, soon()))
    await asyncio.gather(*futures)

    assert server.request_ids == ["a,b,c"]


async def test_draining_waits_for_all_that_was_submitted() -> None:
    """Also for what nobody awaits."""
    server = Server()
    batches = coalescer(server, max_batch=1)
    for n in range(3):
        batches.submit(n, soon())
    await batches.drain()

    assert server.batches == [[0], [1], [2]]


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
    await batches.drain()

    ended = since(before)
    assert set(ended) == set(OUTCOMES)
    assert sum(ended.values()) == 100
