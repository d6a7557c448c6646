"""A stream of requests, as gRPC and WebSocket have it: read as far as there is room."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from common.errors import BadRequest, Problem, RateLimited
from gateway.access import Caller
from gateway.answering import Answering, error_reply, set_error
from gateway.room import Leave, Room
from gateway.wire import ERROR, Message, read_request

MAX_UNSENT = 128
"""Requests of one stream that are in hand or whose reply its client has not taken yet. A client
that does not read then stops its own stream alone. clip-client has 100 under way."""
IDLE_S = 600.0
"""A gRPC stream takes one of those that may be open; it is ended if no request comes for so long.
Every stream is, if a reply cannot be sent for so long."""

Send = Callable[[bytes], Awaitable[None]]
Turn = Callable[[Caller], Awaitable[None]]
"""Waits until a client may send its next request; raises RateLimited."""


class Stream:
    """Answers the requests of one client, several at a time, in the order in which they end."""

    def __init__(
        self, answering: Answering, protocol: str, caller: Caller, send: Send, turn: Turn
    ) -> None:
        """`send` is called for one reply after the other, `turn` before each request."""
        self._answering = answering
        self._protocol = protocol
        self._caller = caller
        self._send = send
        self._turn = turn
        self._sending = asyncio.Lock()
        self._unsent = Room(MAX_UNSENT)
        self.has_failed = False
        """Whether a reply told of an error."""

    @property
    def is_idle(self) -> bool:
        """Whether all requests that were read are answered."""
        return not self._unsent.taken

    async def run(self, messages: AsyncIterator[bytes]) -> None:
        """Answer all messages; returns after the last reply. Raises what `send` raises.

        That is TimeoutError, too, if the client reads no reply.
        """
        async with asyncio.TaskGroup() as tasks:
            async for data in messages:
                try:
                    request = read_request(data)
                except BadRequest as error:
                    await self._reply(error_reply(Problem.of(error)))
                    continue
                try:
                    await self._turn(self._caller)
                except RateLimited as error:
                    set_error(request, Problem.of(error))
                    await self._reply(request)
                    continue
                await self._unsent.enter(1)
                try:
                    leave = await self._answering.enter(request, len(data))
                except asyncio.CancelledError:
                    self._unsent.leave(1)
                    raise
                task = tasks.create_task(self._answer(request, leave))
                task.add_done_callback(partial(self._end, leave))

    async def _answer(self, request: Message, leave: Leave) -> None:
        reply, _ = await self._answering.answer(request, self._protocol, self._caller)
        leave()  # before sending: a client that does not read must not take others' room
        await self._reply(reply)

    async def _reply(self, reply: Message) -> None:
        self.has_failed |= reply.header.status.code == ERROR
        async with self._sending, asyncio.timeout(IDLE_S):
            await self._send(reply.SerializeToString())

    def _end(self, leave: Leave, _task: asyncio.Task[None]) -> None:
        """Also for a task that was cancelled before it began."""
        leave()
        self._unsent.leave(1)


async def until_idle(messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The messages of a client; raises TimeoutError after IDLE_S without any."""
    source = aiter(messages)
    while True:
        async with asyncio.timeout(IDLE_S):
            data = await anext(source, None)
        if data is None:
            return
        yield data
