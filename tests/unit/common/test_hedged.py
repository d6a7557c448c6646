"""Two tries at most: the second for what is slow or fails, and the first good result counts."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from common.errors import Unavailable
from common.hedging import hedged

AFTER_S = 1.0
Try = Callable[[], Awaitable[str]]


class Taking:
    """A try that ends after some seconds, in its result or its error."""

    def __init__(self, seconds: float, result: str | Exception) -> None:
        self.is_cancelled = self.is_begun = False
        self._seconds, self._result = seconds, result

    async def __call__(self) -> str:
        self.is_begun = True
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def giving(other: Try | None, asked: list[BaseException | None]) -> Callable[..., Try | None]:
    """What gives the second try, and notes what it was asked with."""

    def second(failure: BaseException | None) -> Try | None:
        asked.append(failure)
        return other

    return second


async def test_a_quick_first_try_is_the_only_one() -> None:
    """No second is asked for."""
    asked: list[BaseException | None] = []

    assert await hedged(Taking(0.5, "first"), giving(None, asked), AFTER_S) == "first"
    assert asked == []


async def test_a_slow_first_try_brings_a_second_one() -> None:
    """The quicker of them counts, and the other is cancelled."""
    asked: list[BaseException | None] = []
    first, second = Taking(10, "first"), Taking(0.5, "second")
    began = asyncio.get_running_loop().time()

    assert await hedged(first, giving(second, asked), AFTER_S) == "second"
    assert asyncio.get_running_loop().time() - began == pytest.approx(AFTER_S + 0.5)
    await asyncio.sleep(0)
    assert asked == [None]
    assert first.is_cancelled


async def test_the_first_may_still_be_the_quicker() -> None:
    """Then the second is cancelled."""
    first, second = Taking(1.5, "first"), Taking(10, "second")

    assert await hedged(first, giving(second, []), AFTER_S) == "first"
    await asyncio.sleep(0)
    assert second.is_cancelled


async def test_a_failure_brings_the_second_at_once() -> None:
    """It is asked for with what the first failed by."""
    asked: list[BaseException | None] = []
    failure = Unavailable("no")
    began = asyncio.get_running_loop().time()

    assert await hedged(Taking(0.25, failure), giving(Taking(0, "b"), asked), AFTER_S) == "b"
    assert asked == [failure]
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.25)


async def test_two_failures_are_the_last_one_s() -> None:
    """Nobody else is asked."""
    first, second = Taking(0.25, Unavailable("first")), Taking(0.25, Unavailable("second"))

    with pytest.raises(Unavailable, match="second"):
        await hedged(first, giving(second, []), AFTER_S)


async def test_a_hedge_that_fails_leaves_the_first_to_answer() -> None:
    """A slow answer is better than none."""
    first, second = Taking(3, "first"), Taking(0.25, Unavailable("second"))

    assert await hedged(first, giving(second, []), AFTER_S) == "first"


async def test_a_first_that_fails_after_the_hedge_leaves_the_hedge_to_answer() -> None:
    """It is not asked for a third."""
    asked: list[BaseException | None] = []
    first, second = Taking(2, Unavailable("first")), Taking(5, "second")

    assert await hedged(first, giving(second, asked), AFTER_S) == "second"
    assert asked == [None]


async def test_without_a_second_the_slow_first_is_waited_for() -> None:
    """As when the budget is spent."""
    asked: list[BaseException | None] = []

    assert await hedged(Taking(9, "first"), giving(None, asked), AFTER_S) == "first"
    assert asked == [None]


async def test_without_a_second_a_failure_is_the_end() -> None:
    """What it failed by is raised."""
    with pytest.raises(Unavailable, match="first"):
        await hedged(Taking(0, Unavailable("first")), giving(None, []), AFTER_S)


async def test_giving_up_cancels_both() -> None:
    """Nothing goes on for nobody; and what they fail by later is no complaint."""
    first, second = Taking(10, "first"), Taking(10, "second")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await hedged(first, giving(second, []), AFTER_S)
    await asyncio.sleep(0)

    assert first.is_cancelled
    assert second.is_cancelled


async def test_a_failure_after_the_answer_is_looked_at() -> None:
    """A try that answers its cancellation with an error makes asyncio complain of nothing."""

    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise Unavailable("cancelled") from None
        return "first"

    assert await hedged(stubborn, giving(Taking(0, "second"), []), AFTER_S) == "second"
    await asyncio.sleep(1)
