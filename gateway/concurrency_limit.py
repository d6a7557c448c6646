"""How many requests are sent to a server at a time: as many as it takes, found by its refusals."""

import asyncio
import heapq
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count

HANGS_AFTER = 2
"""Late requests in a row, each sent alone: the first may have waited for what was given up."""


class ConcurrencyLimit:
    """No limit until the first refusal; then those who came first go first.

    After a refusal the limit is what is still under way. It grows by one in the time in which as
    many requests as it allows are answered, and is gone when none is in hand. Source: TCP's
    additive increase, as in Netflix's concurrency-limits. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._limit = math.inf
        self.under_way = 0
        """The requests whose turn it is."""
        self._line: list[tuple[int, asyncio.Future[None]]] = []
        self._places = count()
        self._in_hand = 0
        self._late_alone = 0
        """How many in a row."""
        self.answered_at = -math.inf
        """On the loop's clock."""

    @contextmanager
    def place(self) -> Iterator[int]:
        """A place behind all others. In the block, its request may have several turns."""
        self._in_hand += 1
        try:
            yield next(self._places)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self.lift()

    @asynccontextmanager
    async def turn(self, place: int) -> AsyncIterator[float]:
        """Wait for a turn, the lowest place first; the block is one request.

        Gives how many may be under way at a time, as it begins.
        """
        called = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (place, called))
        self._call_next()
        try:
            await called
            yield self._limit
        finally:
            if called.done() and not called.cancelled():
                self.under_way -= 1
            self._call_next()

    def answered(self) -> None:
        """Note in a turn that its request was answered."""
        self._limit += 1 / self._limit
        self._late_alone = 0
        self.answered_at = asyncio.get_running_loop().time()

    def refused(self) -> None:
        """Note in a turn that its request was refused, as there were too many."""
        self._limit = max(1, self.under_way - 1)

    def late(self, allowed: float) -> None:
        """Note that a request was not answered in time, of `allowed` at a time.

        There were too many, or the server hangs: nobody waits for others to find that out.
        """
        self._late_alone += allowed < 2
        if self._late_alone < HANGS_AFTER:
            self.refused()
        else:
            self.lift()

    def lift(self) -> None:
        """Have no limit until the next refusal."""
        self._limit = math.inf

    def _call_next(self) -> None:
        while self._line and self.under_way + 1 <= self._limit:
            _, called = heapq.heappop(self._line)
            if not called.cancelled():
                self.under_way += 1
                called.set_result(None)
