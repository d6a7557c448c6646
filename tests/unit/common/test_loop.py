"""The event loop of a process's threads."""

import asyncio
from contextvars import copy_context
from threading import Thread

import pytest

from common.errors import DeadlineExceeded, Unavailable
from common.loop import LoopThread, within
from common.request_context import CONTEXT, RequestContext


async def test_what_takes_too_long_is_cancelled() -> None:
    """And told as the deadline's."""
    is_cancelled = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            is_cancelled.set()
            raise

    now = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await within(now + 2, slow())
    assert asyncio.get_running_loop().time() - now == pytest.approx(2)
    assert is_cancelled.is_set()


async def test_what_is_in_time_is_passed_on() -> None:
    """Its result or its error."""
    now = asyncio.get_running_loop().time()

    async def fail() -> None:
        raise Unavailable("no")

    assert await within(now + 2, asyncio.sleep(1, "done")) == "done"
    with pytest.raises(Unavailable, match="no"):
        await within(now + 2, fail())


async def test_who_is_cancelled_is_not_late() -> None:
    """A cancellation goes through as one."""
    waiting = asyncio.ensure_future(within(asyncio.get_running_loop().time() + 9, hang()))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def hang() -> None:
    await asyncio.Event().wait()


def test_threads_run_coroutines_and_have_their_ends() -> None:
    """Results, errors, and who it is done for."""
    loop = LoopThread()
    loop.start()

    async def who() -> str:
        await asyncio.sleep(0)
        return CONTEXT.get().request_ids

    async def fail() -> None:
        raise Unavailable("no")

    def ask(name: str, found: dict[str, str]) -> None:
        CONTEXT.set(RequestContext(name))
        found[name] = loop.run(who())

    found: dict[str, str] = {}
    threads = [Thread(target=copy_context().run, args=(ask, name, found)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(Unavailable):
        loop.run(fail())
    loop.close()

    assert found == {"a": "a", "b": "b", "c": "c"}


def test_closing_a_loop_ends_what_is_under_way() -> None:
    """And one that was never started may be closed."""
    LoopThread().close()
    loop = LoopThread()
    loop.start()
    entered = loop.run(begin())
    loop.close()

    assert entered.cancelled()


async def begin() -> "asyncio.Task[None]":
    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    return task
