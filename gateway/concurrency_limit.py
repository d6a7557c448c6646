"""How many requests are sent to a server at a time: as many as it takes, found by its refusals."""

import asyncio
import heapq
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ConcurrencyLimit:
    """No limit until the first refusal; then those who came first go first.

    After a refusal the limit is what is still under way. It grows by one in the time in which as
    many requests as it allows are answered, and is gone when nobody waits. Source: TCP's additive
    increase, as in Netflix's concurrency-limits. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._limit = math.inf
        self.under_way = 0
        """The requests whose turn it is."""
        self._line: list[tuple[int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, place: int) -> AsyncIterator[None]:
        """Wait for a turn, the lowest place first; the block is one request. All places differ."""
        called = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (place, called))
        self._call_next()
        try:
            await called
            yield
        finally:
            if called.done() and not called.cancelled():
                self.under_way -= 1
            if not (self.under_way or self._line):
                self.lift()
            self._call_next()

    def grow(self) -> None:
        """Note in a turn that its request was answered."""
        self._limit += 1 / self._limit

    def shrink(self) -> None:
        """Note in a turn that its request was refused, as there were too many."""
        self._limit = max(1, self.under_way - 1)

    def lift(self) -> None:
        """Have no limit until the next refusal."""
        self._limit = math.inf

    def _call_next(self) -> None:
        while self._line and self.under_way + 1 <= self._limit:
            _, called = heapq.heappop(self._line)
            if not called.cancelled():
                self.under_way += 1
                called.set_result(None)
