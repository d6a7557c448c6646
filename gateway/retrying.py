"""Questions to middle that are asked again while it is overloaded."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from common.errors import DeadlineExceeded, Overloaded, ServiceError
from common.http_client import Reply
from gateway.concurrency_limit import ConcurrencyLimit
from middle.client import decode_answer
from middle.messages import Answer, EmbedAnswer, EmbedQuery, Query
from middle.write_messages import PutAnswer, PutQuery

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 2.0
"""Pauses double from the first to the longest. A queue that is full empties within its deadline."""
TRY_AGAIN = 503
TOO_MANY = (Overloaded.code, "out_of_memory")
FULL = "live_full"
"""The code of a put that must wait until prepare has run."""

Result = TypeVar("Result")


class Middle(Protocol):
    """What is needed of `middle.client.MiddleClient`."""

    def embed(self, query: EmbedQuery, deadline: float) -> Awaitable[Reply]:
        """Ask for the `EmbedAnswer` to a query, in JSON; awaiting it raises a ServiceError."""

    def search(self, query: Query, deadline: float) -> Awaitable[Reply]:
        """Ask for the `Answer` to a query, in JSON; awaiting it raises a ServiceError."""

    def put(self, query: PutQuery, deadline: float) -> Awaitable[PutAnswer]:
        """Put an image into the index; awaiting it raises a ServiceError."""


class RetryingMiddle:
    """Asks middle until it answers or refuses for good, for `wait_s` from the first refusal.

    Where middle has too much to do, those who came later wait: else they might take each place that
    gets free. That wait has no end, while others are answered.
    """

    def __init__(self, middle: Middle, deadline_s: float, wait_s: float) -> None:
        """`deadline_s` is for each try."""
        self._middle = middle
        self._embeds, self._searches = ConcurrencyLimit(), ConcurrencyLimit()
        self._puts = ConcurrencyLimit()
        self._deadline_s = deadline_s
        self._wait_s = wait_s

    async def embed(self, query: EmbedQuery) -> EmbedAnswer:
        """The answer to a query of at most MAX_INPUTS inputs; raises a ServiceError."""
        reply = await self._ask(self._embeds, lambda deadline: self._middle.embed(query, deadline))
        return decode_answer(reply.body, EmbedAnswer)

    async def search(self, query: Query) -> Answer:
        """The answer to a query; raises a ServiceError."""
        reply = await self._ask(
            self._searches, lambda deadline: self._middle.search(query, deadline)
        )
        return decode_answer(reply.body, Answer)

    async def put(self, query: PutQuery) -> PutAnswer:
        """Put an image into the index; raises a ServiceError."""
        return await self._ask(self._puts, lambda deadline: self._middle.put(query, deadline))

    async def _ask(
        self, limit: ConcurrencyLimit, ask: Callable[[float], Awaitable[Result]]
    ) -> Result:
        """The result of the first try that is not refused with TRY_AGAIN."""
        loop = asyncio.get_running_loop()
        pause_s, refused_at = FIRST_PAUSE_S, math.inf
        with limit.place() as place:
            while True:
                async with limit.turn(place) as allowed:
                    try:
                        result = await ask(loop.time() + self._deadline_s)
                    except ServiceError as error:
                        if error.status != TRY_AGAIN or error.code == FULL:
                            limit.answered()
                            raise
                        refused_at = min(refused_at, loop.time())
                        since = refused_at
                        if error.code in TOO_MANY:
                            limit.refused()
                            since = max(since, limit.answered_at)
                        elif error.code == DeadlineExceeded.code:
                            limit.late(allowed)
                        else:  # it is away: nobody waits for others to find that out
                            limit.lift()
                        if loop.time() + pause_s > since + self._wait_s:
                            raise
                    else:
                        limit.answered()
                        return result
                    pause = asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 # nosec B311
                    pause_s = min(2 * pause_s, MAX_PAUSE_S)
                    if allowed < 2:  # in its turn, as nobody else would fare better
                        await pause
                        continue
                await pause
