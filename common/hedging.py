"""A second try of a request: as a hedge while the first is slow, or as a retry after it failed."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from common.errors import ServiceError

Result = TypeVar("Result")
Try = Callable[[], Awaitable[Result]]


async def hedged(
    first: Try[Result],
    second: Callable[[BaseException | None], Try[Result] | None],
    after_s: float,
) -> Result:
    """The first good result of at most two tries; the other try is cancelled.

    If the first try takes longer than `after_s`, `second(None)` gives the hedge. If the first try
    fails without a hedge, `second(failure)` gives the retry. `second` returns None to refuse a
    try. Raises the error of the last try.
    """
    tries = [asyncio.ensure_future(first())]
    try:
        await asyncio.wait(tries, timeout=after_s)
        other = None if tries[0].done() else second(None)
        if other is None:
            await asyncio.wait(tries)
            failure = tries[0].exception()
            if failure is None:
                return tries[0].result()
            other = second(failure)
        if other:
            tries.append(asyncio.ensure_future(other()))
        for done in asyncio.as_completed(tries):
            with suppress(Exception):
                return await done
        return await tries[-1]
    finally:
        for task in tries:
            task.cancel()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())


async def retried(
    first: Try[Result], second: Callable[[BaseException | None], Try[Result] | None]
) -> Result:
    """The result of the first try, or of a retry. Costs half of `hedged`, as it needs no task."""
    try:
        return await first()
    except ServiceError as failure:
        other = second(failure)
        if other is None:
            raise
    return await other()
