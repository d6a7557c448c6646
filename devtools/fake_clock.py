"""A clock that stands still until it is moved: timeouts and pauses take no time in tests."""

import asyncio
import gc
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

HANG_S = 10.0
"""Real time. A loop without timers can only go on by what another thread does; that takes less."""


class FakeClock:
    """Seconds that pass only by `advance`; stands where `time.monotonic` would."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s

    def __call__(self) -> float:
        """The time, in seconds."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds


class FakeClockLoop(asyncio.SelectorEventLoop):
    """An event loop on a fake clock, which jumps to the next timer instead of waiting for it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._fake_clock = clock
        self.complaints: list[str] = []
        """What nobody awaited or looked at."""
        self.set_exception_handler(lambda _loop, context: self.complaints.append(str(context)))

    def time(self) -> float:
        """The time of the clock."""
        return self._fake_clock()


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(HANG_S if timeout is None else 0)
        if not events and timeout is None:
            raise RuntimeError("the event loop waits for what never comes")
        if not events and timeout:
            self._clock.advance(timeout)
        return events


def run(coroutine: Coroutine[Any, Any, Result], clock: FakeClock | None = None) -> Result:
    """Run a coroutine on a fake clock; returns or raises what it ends in.

    Raises RuntimeError when it waits for ever, AssertionError when it leaves an exception behind
    that nobody looked at.
    """
    loop = FakeClockLoop(clock or FakeClock())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(coroutine)
        gc.collect()  # asyncio complains of a forgotten exception when its task is collected
    if loop.complaints:
        raise AssertionError("; ".join(loop.complaints))
    return result
