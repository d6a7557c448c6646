"""A fake clock: timeouts and pauses take no real time in tests."""

import asyncio
import gc
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

HANG_S = 10.0
"""Real time. A loop without timers waits for another thread, which needs less than this."""


class FakeClock:
    """A clock that moves only by `advance`; tests give it in place of `time.monotonic`."""

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
        """The messages of asyncio's exception handler, such as on an exception that nobody read."""
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
    """Run a coroutine on a fake clock; returns its result or raises its exception.

    Raises RuntimeError if the coroutine waits for ever. Raises AssertionError if a task failed and
    nobody read its exception.
    """
    loop = FakeClockLoop(clock or FakeClock())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(coroutine)
        gc.collect()  # asyncio complains of a forgotten exception when its task is collected
    if loop.complaints:
        raise AssertionError("; ".join(loop.complaints))
    return result
