"""gRPC clients that read nothing: HTTP/2 lets them keep a stream open by a window of no bytes."""

import asyncio
from struct import pack
from typing import cast

import grpc
import pytest

from common.config import Gateway
from common.errors import Unauthorized
from gateway import grpc_server
from gateway.access import Access, Caller
from gateway.answering import Answering
from gateway.grpc_server import GrpcServer
from gateway.wire import DataRequest

CALL = "/jina.JinaRPC/Call"
DRY_RUN = "/jina.JinaGatewayDryRunRPC/dry_run"
HEADERS, SETTINGS, DATA = 1, 4, 0
"""Types of frames (RFC 9113, section 6)."""


class Guarded:
    """Lets those ask whose key is good."""

    def check(self, shown: str, _address: str) -> Caller:
        if shown != "good":
            raise Unauthorized("send a valid key")
        return Caller("good")

    async def turn(self, _caller: Caller) -> None:
        pass


class Echoing:
    """Answers a request by itself."""

    async def enter(self, _request: DataRequest, _size: int) -> object:
        return lambda: None

    async def answer(self, request: DataRequest, *_: object) -> tuple[DataRequest, int]:
        return request, 200


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return pack(">I", len(content))[1:] + bytes([kind, flags]) + pack(">I", stream) + content


def text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


async def read_nothing(port: int, path: str, streams: int) -> asyncio.StreamWriter:
    """Open streams with a message on each, and a window of no bytes for the replies."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
    names |= {"te": "trailers", "content-type": "application/grpc"}
    headers = b"".join(b"\0" + text(name) + text(value) for name, value in names.items())
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, pack(">HI", 4, 0)))
    for stream in range(1, 2 * streams, 2):
        writer.write(frame(HEADERS, 4, stream, headers))
        writer.write(frame(DATA, 0, stream, bytes(5)))
    await writer.drain()
    return writer


@pytest.mark.parametrize("path", [CALL, DRY_RUN])
def test_who_has_no_key_and_reads_nothing_leaves_room(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such streams stay open as long as the client likes, so they are not counted."""
    monkeypatch.setattr(grpc_server, "MAX_STREAMS", 16)

    async def run() -> bytes:
        server = GrpcServer(cast(Answering, Echoing()), cast(Access, Guarded()), 1000)
        port = await server.start(Gateway(port=0), None)
        writers = [await read_nothing(port, path, 16) for _ in range(3)]
        await asyncio.sleep(2 * grpc_server.REFUSAL_S)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream(CALL)(metadata=(("authorization", "good"),))
            await call.write(b"")
            reply: bytes = await asyncio.wait_for(call.read(), 20)
            call.cancel()
        for writer in writers:
            writer.close()
        await server.stop(0)
        return reply

    assert asyncio.run(run()) == b""
