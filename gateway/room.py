"""Rooms: limits of what is in hand, over all connections; who finds no room waits in line.

A stream that waits is not read any further, so that its client is slowed down and not refused.
"""

import asyncio
from collections import deque
from collections.abc import Callable

Leave = Callable[[], None]


class Room:
    """Room for a number of things, given out in the order in which it was asked for.

    Belongs to one event loop.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._line: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def taken(self) -> int:
        """How much is in hand."""
        return self._taken

    async def enter(self, size: int) -> None:
        """Wait until there is room for `size` more; a size over the limit waits for all of it."""
        size = self._fitting(size)
        if not self._line and self._taken + size <= self._limit:
            self._taken += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was its turn already
                self._taken -= size
            self._call_next()
            raise

    def leave(self, size: int) -> None:
        """Give back what `enter` was asked for."""
        self._taken -= self._fitting(size)
        self._call_next()

    def _fitting(self, size: int) -> int:
        return min(size, self._limit)

    def _call_next(self) -> None:
        while self._line:
            turn, size = self._line[0]
            if turn.cancelled():
                self._line.popleft()
            elif self._taken + size <= self._limit:
                self._line.popleft()
                self._taken += size
                turn.set_result(None)
            else:
                return


async def enter_all(*wanted: tuple[Room, int]) -> Leave:
    """Enter several rooms, one after the other; returns a function that leaves them, once.

    All callers must name the rooms in the same order, or two of them may wait for each other.
    """
    taken: list[tuple[Room, int]] = []

    def leave() -> None:
        while taken:
            room, size = taken.pop()
            room.leave(size)

    try:
        for room, size in wanted:
            await room.enter(size)
            taken.append((room, size))
    except asyncio.CancelledError:
        leave()
        raise
    return leave
