"""WebSocket: one DataRequest a binary message; the byte 0x00 ends the input."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from common.errors import Unavailable
from gateway.access import Caller
from gateway.answering import Answering
from gateway.stream import Stream, Turn
from gateway.wire import SUCCESS, Status

END_OF_INPUT = b"\0"
SUBPROTOCOL = "bytes"
PING_S = 30.0
"""A client that is gone without a word is noticed after this."""
LINGER_S = 0.1
"""The time between an error and the end: clip-client drops a reply that it has not looked at when
the connection ends, and then says `Empty embedding` instead of the error."""
POLL_S = 0.05
STOPPING = "this server stops: send what is not answered again"


class WebSockets:
    """The open WebSockets of one event loop."""

    def __init__(self, answering: Answering, max_message_bytes: int, limit: int) -> None:
        """`limit` is how many may be open at a time."""
        self._answering = answering
        self._max_message_bytes = max_message_bytes
        self._limit = limit
        self._open: dict[web.WebSocketResponse, Stream] = {}

    async def serve(
        self, request: web.Request, caller: Caller, turn: Turn
    ) -> web.WebSocketResponse:
        """Answer a WebSocket until its client ends it; raises Unavailable over the limit."""
        if len(self._open) >= self._limit:
            raise Unavailable("too many connections are open: try again later", "overloaded")
        socket = self._socket()
        await socket.prepare(request)
        stream = Stream(self._answering, "websocket", caller, socket.send_bytes, turn)
        self._open[socket] = stream
        try:
            await stream.run(_messages(socket))
        except* (ConnectionError, TimeoutError):
            pass  # the client is gone, or does not read
        finally:
            del self._open[socket]
        if stream.has_failed:
            await asyncio.sleep(LINGER_S)
        await socket.close()
        return socket

    async def dry_run(self, request: web.Request) -> web.WebSocketResponse:
        """Say that this server takes requests; a message asks, its content does not matter."""
        socket = self._socket()
        await socket.prepare(request)
        with suppress(TimeoutError):
            await socket.receive(PING_S)
        await socket.send_bytes(Status(code=SUCCESS).SerializeToString())
        await socket.close()
        return socket

    async def drain(self, within_s: float) -> None:
        """Close each WebSocket once it has nothing in hand, and after `within_s` all others."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self._open:
            is_over = asyncio.get_running_loop().time() >= deadline
            for socket, stream in list(self._open.items()):
                if is_over or stream.is_idle:
                    # clip-client raises ConnectionError for this code; for others, it waits
                    code = WSCloseCode.INTERNAL_ERROR
                    await socket.close(code=code, message=STOPPING.encode())
            await asyncio.sleep(POLL_S)

    def _socket(self) -> web.WebSocketResponse:
        return web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            max_msg_size=self._max_message_bytes,
            heartbeat=PING_S,
            compress=False,  # aiohttp unpacks at once all that it reads, whatever it becomes
        )


async def _messages(socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
    """The binary messages until the client ends its input or closes."""
    async for message in socket:
        if message.type != WSMsgType.BINARY or message.data == END_OF_INPUT:
            return
        yield message.data
