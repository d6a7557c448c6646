"""Who may ask the gateway, and how often, over each protocol."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc
import pytest

from devtools.gateways import RunningGateway, gateway
from devtools.services import Cluster, run_command, with_section
from gateway.grpc_server import MAX_STREAMS
from gateway.wire import ERROR, SUCCESS, DataRequest, Document, Message
from tests.gateway.clients import ENVIRONMENT_OF, run
from tests.gateway.test_service import ENCODE, SHAPE, post

END_OF_INPUT = b"\0"
INDEX = """
import sys
from clip_client import Client
client = Client(sys.argv[1], credential={"Authorization": sys.argv[2]})
try:
    print(len(client.index(["samples/owl.jpg"])))
except BaseException as error:
    print("ERROR", type(error).__name__, str(error).replace(chr(10), " "))
"""
ONE = {"data": [{"text": "a cat"}], "execEndpoint": "/encode"}


@pytest.fixture(scope="module")
def guarded(services: Cluster, root: Path) -> Iterator[tuple[RunningGateway, dict[str, str]]]:
    """A gateway with keys: for two scopes, and one that may search and write."""
    config = with_section(services.config, "Front", keys_file="keys.json")
    keys = {}
    for name in ("search", "images", "search-write"):
        scopes = [word for scope in name.split("-") for word in ("--scope", scope)]
        done = run_command("front/keys.py", config, name, *scopes, cwd=root)
        assert done.returncode == 0, done.stderr
        keys[name] = done.stdout.strip()
    with gateway(config, root) as served:
        yield served, keys


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_keys(guarded: tuple[RunningGateway, dict[str, str]], scheme: str) -> None:
    """A key as the client sends it, or with Bearer; none, a wrong one, and one for other things."""
    served, keys = guarded

    good, others = keys["search"], keys["images"]
    shown = (good, f"Bearer {good}", "", "wrong", others)

    lines = run(ENVIRONMENT_OF[scheme], ENCODE, served.url(scheme), *shown)

    told = [line for line in lines if line.startswith(("SHAPE", "FAILED"))]
    assert [True, True, False, False, False] == [line.startswith(SHAPE) for line in told]
    assert "send a valid key" in told[2]
    assert "send a valid key" in told[3]
    assert "not good for search" in told[4]
    assert served.service.request("GET", "/metrics").status == 401
    assert served.service.get("/healthz")


@pytest.mark.parametrize(
    ("method", "code"),
    [("JinaRPC/Call", "UNAUTHENTICATED"), ("JinaGatewayDryRunRPC/dry_run", "OK")],
)
def test_streams_without_a_key_leave_room_for_others(
    guarded: tuple[RunningGateway, dict[str, str]], method: str, code: str
) -> None:
    """As many as may be open, on which nothing is sent, end by themselves."""
    served, keys = guarded

    async def codes() -> list[str]:
        async with asyncio.timeout(60), grpc.aio.insecure_channel(served.grpc) as channel:
            mute = [channel.stream_unary(f"/jina.{method}")() for _ in range(MAX_STREAMS)]
            return [(await stream.code()).name for stream in mute]

    assert {code} == set(asyncio.run(codes()))
    assert run("pydantic-1", ENCODE, served.url("grpc"), keys["search"])[-1].startswith(SHAPE)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_indexing_needs_a_key_for_writing(
    guarded: tuple[RunningGateway, dict[str, str]], scheme: str
) -> None:
    """Searching stays as it is for both."""
    served, keys = guarded

    def indexed(key: str) -> str:
        return run(ENVIRONMENT_OF[scheme], INDEX, served.url(scheme), key)[-1]

    assert "not good for write" in indexed(keys["search"])
    assert indexed(keys["search-write"]) == "1"


def test_clip_client_is_refused_over_websocket(
    guarded: tuple[RunningGateway, dict[str, str]],
) -> None:
    """It sends no key there, and drops what its address has beside host and port."""
    served, keys = guarded
    for url in (served.url("ws"), f"{served.url('ws')}/?authorization={keys['search']}"):
        (line,) = run("pydantic-1", ENCODE, url, keys["search"])[-1:]
        assert line.startswith("FAILED")
        assert "401" in line


def test_other_clients_send_a_key_over_websocket(
    guarded: tuple[RunningGateway, dict[str, str]],
) -> None:
    """In the header Authorization, with Bearer or without; one in the address is not read."""
    served, keys = guarded
    for shown in (keys["search"], f"Bearer {keys['search']}"):
        (reply,) = websocket(served, 1, Authorization=shown)
        assert reply.data.docs.docs[0].HasField("embedding")
    for shown, status in (("", 401), ("wrong", 401), (keys["images"], 403)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            websocket(served, 1, f"?authorization={keys['search']}", Authorization=shown)
        assert refused.value.status == status


@pytest.mark.parametrize("scheme", ENVIRONMENT_OF)
def test_a_rate_slows_a_client_down(services: Cluster, root: Path, scheme: str) -> None:
    """30 requests at 4 a second: clip-client takes its time, and none is refused."""
    with gateway(services.config, root, rate_per_s=4, rate_burst=2) as served:
        since = time.monotonic()
        output = run(ENVIRONMENT_OF[scheme], "crowd", served.url(scheme), "0", "20", "1")
        assert time.monotonic() - since >= 28 / 4
    assert "EQUAL 20" in output


def test_over_the_rate_for_too_long_is_refused(services: Cluster, root: Path) -> None:
    """With when to come back; each protocol counts, and what says that it lives is free."""
    config = with_section(services.config, "Middle", cache="off")
    with gateway(config, root, rate_per_s=0.01, rate_burst=2, wait_ms=100) as served:
        assert post(served.service, **ONE).status == 200
        first, second = websocket(served, 2)
        assert (first.header.status.code, second.header.status.code) == (SUCCESS, ERROR)
        assert second.header.status.exception.name == "rate_limited"
        refused = post(served.service, **ONE)
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 100
        (line,) = run("pydantic-1", ENCODE, served.url("grpc"))[-1:]
        assert "over the rate" in line
        assert served.service.get("/healthz")


def websocket(served: RunningGateway, count: int, query: str = "", **headers: str) -> list[Message]:
    """The replies to so many requests of a text, in the order of the requests."""
    replies = asyncio.run(replies_of(served, count, query, headers))
    return [replies[number] for number in range(count)]


async def replies_of(
    served: RunningGateway, count: int, query: str, headers: dict[str, str]
) -> dict[int, Message]:
    replies = {}
    url = f"ws://{served.service.address}/{query}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as ws:
        for number in range(count):
            request = DataRequest()
            request.header.request_id, request.header.exec_endpoint = str(number), "/encode"
            request.data.docs.docs.append(Document(text=f"a cat {number}"))
            await ws.send_bytes(request.SerializeToString())
        await ws.send_bytes(END_OF_INPUT)
        async with asyncio.timeout(30):
            async for message in ws:
                reply = DataRequest.FromString(message.data)
                replies[int(reply.header.request_id)] = reply
    return replies
