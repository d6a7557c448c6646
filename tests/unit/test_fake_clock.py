"""The fake clock itself: what the other unit tests rely on."""

import asyncio
import time

import pytest

from devtools.fake_clock import FakeClock, run


async def test_a_pause_takes_no_time_and_moves_the_clock() -> None:
    """An hour on the loop's clock passes at once."""
    loop = asyncio.get_running_loop()
    began, really = loop.time(), time.monotonic()

    await asyncio.sleep(3600)

    assert loop.time() - began == pytest.approx(3600)
    assert time.monotonic() - really < 60


async def test_timers_fire_in_their_order() -> None:
    """The one that is due first comes first, whichever was started first."""
    order: list[int] = []

    async def after(seconds: int) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    await asyncio.gather(after(3), after(1), after(2))

    assert order == [1, 2, 3]


async def test_another_thread_is_waited_for() -> None:
    """A loop without timers waits for a thread in real time."""
    assert await asyncio.to_thread(lambda: 7) == 7


def test_an_exception_that_nobody_looks_at_is_an_error() -> None:
    """What asyncio would only log makes a test fail."""

    async def fail() -> None:
        raise ValueError("forgotten")

    async def forget() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(AssertionError, match="forgotten"):
        run(forget())


def test_a_clock_for_threads_is_a_function() -> None:
    """It tells the same time until it is moved."""
    clock = FakeClock()
    began = clock()
    clock.advance(2.5)

    assert clock() - began == 2.5
