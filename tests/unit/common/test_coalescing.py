"""The coalescer: together what comes while a batch is under way, and one end for every item."""

import asyncio
from contextvars import copy_context

import pytest

from common.errors import BadRequest, Unavailable
from common.request_context import CONTEXT, RequestContext
from tests.unit.batching import Server, coalescer, outcomes, since, soon


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


async def test_the_number_of_slots_can_change() -> None:
    """More send at once what comes next; with fewer, those under way finish and nothing is lost."""
    server = Server()
    batches = coalescer(server)
    calls = [batches.submit(0, soon())]
    batches.set_slots(3)
    for n in (1, 2):
        await asyncio.sleep(0.1)
        calls.append(batches.submit(n, soon()))
    await asyncio.sleep(0.1)
    assert server.batches == [[0], [1], [2]]
    batches.set_slots(1)
    calls += [batches.submit(n, soon()) for n in (3, 4)]

    assert await asyncio.gather(*calls) == [0, 10, 20, 30, 40]
    assert server.batches[3:] == [[3, 4]]
    calls = [batches.submit(5, soon())]
    await asyncio.sleep(0.1)
    calls.append(batches.submit(6, soon()))
    await asyncio.gather(*calls)
    assert server.batches[4:] == [[5], [6]]


async def test_a_batch_has_a_limit() -> None:
    """No more than max_batch items go together."""
    server = Server()
    batches = coalescer(server, max_batch=2)
    await asyncio.gather(*(batches.submit(n, soon()) for n in range(5)))

    assert server.batches == [[0, 1], [2, 3], [4]]


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
        context.run(CONTEXT.set, RequestContext(name))
        futures.append(context.run(batches.submit, item, soon()))
    await asyncio.gather(*futures)

    assert server.request_ids == ["a,b,c"]


async def test_draining_waits_for_all_that_was_submitted() -> None:
    """Also for what nobody awaits."""
    server = Server()
    batches = coalescer(server, max_batch=1)
    for n in range(3):
        batches.submit(n, soon())
    await batches.wait_sent()

    assert server.batches == [[0], [1], [2]]
