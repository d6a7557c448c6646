"""Refused streams: told why, for a short time, and few at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from common.errors import Unauthorized
from gateway.grpc_server import MAX_REFUSALS, REFUSAL_S, Refusals
from gateway.wire import DataRequest


class Context:
    """A stream, as its server has it."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.aborted: tuple[Any, ...] = ()

    async def write(self, data: bytes) -> None:
        self.replies.append(data)

    async def abort(self, code: grpc.StatusCode, detail: str) -> None:
        self.aborted = code, detail


async def sent(*messages: bytes, pause_s: float = 0, ends: bool = True) -> AsyncIterator[bytes]:
    for message in messages:
        yield message
        await asyncio.sleep(pause_s)
    if not ends:
        await asyncio.sleep(10 * REFUSAL_S)


ERROR = Unauthorized("send a valid key")
ABORTED = (grpc.StatusCode.UNAUTHENTICATED, "send a valid key")


async def test_a_reply_to_each_message_says_why() -> None:
    """No abort hides it, and the stream ends as its client ends it."""
    context = Context()
    await Refusals().tell(ERROR, sent(b"1", b"2"), context)

    told = [DataRequest.FromString(reply).header.status.description for reply in context.replies]
    assert (told, context.aborted) == (["send a valid key"] * 2, ())


@pytest.mark.parametrize("messages", [(), (b"1",) * 100])
async def test_a_refused_stream_is_not_read_for_long(messages: tuple[bytes, ...]) -> None:
    """Whether its client sends nothing or goes on."""
    context, since = Context(), asyncio.get_running_loop().time()
    await Refusals().tell(ERROR, sent(*messages, pause_s=0.3, ends=False), context)

    assert asyncio.get_running_loop().time() - since == pytest.approx(REFUSAL_S)
    assert context.aborted == ABORTED
    assert len(context.replies) == (4 if messages else 0)


async def test_few_refused_streams_are_read_at_a_time() -> None:
    """One more is aborted at once; when they have ended, others are read."""
    refusals, contexts = Refusals(), [Context() for _ in range(MAX_REFUSALS)]
    reading = [
        asyncio.create_task(refusals.tell(ERROR, sent(ends=False), context)) for context in contexts
    ]
    await asyncio.sleep(REFUSAL_S / 2)
    more = Context()
    await refusals.tell(ERROR, sent(b"1"), more)
    assert (more.aborted, more.replies) == (ABORTED, [])
    assert not any(context.aborted for context in contexts)

    await asyncio.gather(*reading)
    await refusals.tell(ERROR, sent(b"1"), more)
    assert len(more.replies) == 1
