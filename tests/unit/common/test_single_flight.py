"""Single flight: one call for equal questions at a time."""

import asyncio

import pytest

from common.coalescing import SingleFlight
from common.errors import Unavailable


class Maker:
    """Makes a value in a second and counts how often it was asked to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.was_cancelled = False
        self._error = error

    async def __call__(self) -> int:
        self.calls += 1
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self._error:
            raise self._error
        return self.calls


async def test_a_hundred_equal_calls_are_one() -> None:
    """All of them have its result."""
    flights, make = SingleFlight(), Maker()

    assert await asyncio.gather(*(flights.do("a", make) for _ in range(100))) == [1] * 100
    assert make.calls == 1


async def test_different_keys_are_different_calls() -> None:
    """They run at the same time."""
    flights, make = SingleFlight(), Maker()
    began = asyncio.get_running_loop().time()
    await asyncio.gather(flights.do("a", make), flights.do("b", make))

    assert make.calls == 2
    assert asyncio.get_running_loop().time() - began == pytest.approx(1)


async def test_who_gives_up_ends_no_other_s_call() -> None:
    """Not even the one that began it."""
    flights, make = SingleFlight(), Maker()
    leader, joiner = (asyncio.ensure_future(flights.do("a", make)) for _ in range(2))
    await asyncio.sleep(0.5)
    leader.cancel()

    assert await joiner == 1
    assert leader.cancelled()
    assert not make.was_cancelled


async def test_a_failure_is_everyone_s() -> None:
    """All that asked get the exception."""
    flights, make = SingleFlight(), Maker(Unavailable("no"))
    results = await asyncio.gather(
        *(flights.do("a", make) for _ in range(3)), return_exceptions=True
    )

    assert [str(one) for one in results] == ["no"] * 3
    assert make.calls == 1


async def test_a_failure_that_nobody_waits_for_is_no_complaint() -> None:
    """When all gave up, the exception has still been looked at."""
    flights, make = SingleFlight(), Maker(Unavailable("no"))
    only = asyncio.ensure_future(flights.do("a", make))
    await asyncio.sleep(0.5)
    only.cancel()
    await asyncio.sleep(2)

    assert "a" not in flights


@pytest.mark.parametrize("error", [None, Unavailable("no")])
async def test_a_call_is_forgotten_when_it_has_ended(error: Exception | None) -> None:
    """The next one for the same key is made anew."""
    flights, make = SingleFlight(), Maker(error)
    for _ in range(2):
        calling = asyncio.ensure_future(flights.do("a", make))
        await asyncio.sleep(0.5)
        assert "a" in flights
        await asyncio.wait([calling])
        assert calling.exception() is error
        assert "a" not in flights

    assert make.calls == 2
