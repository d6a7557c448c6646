"""WebSockets, in this process: one that nothing comes over makes room for others."""

import asyncio
from typing import cast

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from gateway import stream
from gateway.access import Caller
from gateway.answering import Answering
from gateway.websocket import WebSockets


def test_a_silent_websocket_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens as many as there may be does not keep all others out for ever."""
    monkeypatch.setattr(stream, "IDLE_S", 0.1)
    sockets = WebSockets(cast(Answering, None), 1000, limit=1)

    async def turn(_caller: Caller) -> None:
        raise AssertionError("nothing is asked")

    async def serve(request: web.Request) -> web.WebSocketResponse:
        return await sockets.serve(request, Caller("unit"), turn)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/", serve)
        async with TestClient(TestServer(app)) as client:
            for _ in range(2):
                async with client.ws_connect("/") as socket:
                    assert WSMsgType.CLOSE == (await socket.receive(10)).type

    asyncio.run(run())
