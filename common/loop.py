"""An event loop in a thread of its own, and how threads and deadlines meet it."""

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from common.errors import DeadlineExceeded

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines for all threads of a process, one after the other on one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="loop", daemon=True)

    def start(self) -> None:
        """Start the thread; call it after the process has forked."""
        self._thread.start()
        self._started.wait()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop and wait for it; returns or raises what it ends in.

        The context variables of the calling thread come along.
        """
        assert self._loop is not None, "start() comes first"  # noqa: S101 # nosec B101
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Cancel what is still under way, and end the thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(self._started.set)
            self._loop.run_forever()


async def within(deadline: float, awaitable: Awaitable[Result]) -> Result:
    """Wait for a result until `deadline`, on the clock of the loop (time.monotonic()).

    Raises DeadlineExceeded. The awaitable is cancelled then.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await awaitable
    except TimeoutError:
        raise DeadlineExceeded("no answer within the deadline") from None
