"""An event loop in its own thread, and a wait with a deadline."""

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from common.errors import DeadlineExceeded

Result = TypeVar("Result")


class LoopThread:
    """Runs the coroutines of all threads of a process on one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="loop", daemon=True)

    def start(self) -> None:
        """Start the thread; call it after the process has forked."""
        self._thread.start()
        self._started.wait()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop and wait; returns or raises the coroutine's outcome.

        The coroutine gets the context variables of the calling thread.
        """
        assert self._loop is not None, "start() comes first"  # noqa: S101 # nosec B101
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Cancel all running coroutines, and end the thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(self._started.set)
            self._loop.run_forever()


async def within(deadline: float, awaitable: Awaitable[Result]) -> Result:
    """Wait for a result until `deadline`, on the loop's clock (time.monotonic()).

    At the deadline, the awaitable is cancelled; raises DeadlineExceeded.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await awaitable
    except TimeoutError:
        raise DeadlineExceeded("no answer within the deadline") from None
