"""Single flight: one call for equal questions at a time."""

import asyncio
from collections.abc import Coroutine

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


def do(
    flights: SingleFlight, make: Maker, key: str = "a", seconds: float = 10
) -> Coroutine[None, None, int]:
    """Ask for what `make` makes."""
    return flights.do(key, make, asyncio.get_running_loop().time() + seconds)


def joins(flights: SingleFlight, seconds: float = 10) -> bool:
    """Whether who asks now joins a call that is under way."""
    return flights.joins("a", asyncio.get_running_loop().time() + seconds)


async def test_a_hundred_equal_calls_are_one() -> None:
    """All of them have its result."""
    flights, make = SingleFlight(), Maker()

    assert await asyncio.gather(*(do(flights, make) for _ in range(100))) == [1] * 100
    assert make.calls == 1


async def test_different_keys_are_different_calls() -> None:
    """They run at the same time."""
    flights, make = SingleFlight(), Maker()
    began = asyncio.get_running_loop().time()
    await asyncio.gather(do(flights, make), do(flights, make, "b"))

    assert make.calls == 2
    assert asyncio.get_running_loop().time() - began == pytest.approx(1)


async def test_a_call_with_little_time_is_not_joined_by_those_who_have_more() -> None:
    """They share another one, which its end leaves alone."""
    flights, make = SingleFlight(), Maker()
    hasty = asyncio.ensure_future(do(flights, Maker(), seconds=1))
    await asyncio.sleep(0.5)

    assert joins(flights, 1)
    others = asyncio.gather(*(do(flights, make) for _ in range(3)))
    assert await hasty == 1
    assert joins(flights)
    assert await others == [1] * 3


async def test_a_call_that_has_just_ended_is_not_joined() -> None:
    """Its result is older than the question, though the loop has not forgotten it yet."""
    flights, make = SingleFlight(), Maker()

    async def ask_at_the_end() -> int:
        made = await make()
        asyncio.get_running_loop().call_soon(lambda: told.append(joins(flights)))
        return made

    told: list[bool] = []
    await flights.do("a", ask_at_the_end, asyncio.get_running_loop().time() + 10)

    assert told == [False]


async def test_who_gives_up_ends_no_other_s_call() -> None:
    """Not even the one that began it."""
    flights, make = SingleFlight(), Maker()
    leader, joiner = (asyncio.ensure_future(do(flights, make)) for _ in range(2))
    await asyncio.sleep(0.5)
    leader.cancel()

    assert await joiner == 1
    assert leader.cancelled()
    assert not make.was_cancelled


async def test_a_failure_is_everyone_s() -> None:
    """All that asked get the exception."""
    flights, make = SingleFlight(), Maker(Unavailable("no"))
    results = await asyncio.gather(*(do(flights, make) for _ in range(3)), return_exceptions=True)

    assert [str(one) for one in results] == ["no"] * 3
    assert make.calls == 1


async def test_a_failure_that_nobody_waits_for_is_no_complaint() -> None:
    """When all gave up, the exception has still been looked at."""
    flights, make = SingleFlight(), Maker(Unavailable("no"))
    only = asyncio.ensure_future(do(flights, make))
    await asyncio.sleep(0.5)
    only.cancel()
    await asyncio.sleep(2)

    assert not joins(flights)


@pytest.mark.parametrize("error", [None, Unavailable("no")])
async def test_a_call_is_forgotten_when_it_has_ended(error: Exception | None) -> None:
    """The next one for the same key is made anew."""
    flights, make = SingleFlight(), Maker(error)
    for _ in range(2):
        calling = asyncio.ensure_future(do(flights, make))
        await asyncio.sleep(0.5)
        assert joins(flights)
        await asyncio.wait([calling])
        assert calling.exception() is error
        assert not joins(flights)

    assert make.calls == 2
