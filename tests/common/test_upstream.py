"""The retry rule, against real servers that misbehave; those count what was sent to them."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from common.digest import DigestedBody, content_digest
from common.errors import DeadlineExceeded, InvalidResponse, Unavailable
from common.http_client import HttpClient, Request
from common.upstream import Upstream
from tests.common.misbehaving import HEAD, WHOLE, Behave, Misbehaving, answer, keep_on, misbehaving
from tests.fake_server import Quiet, answering

REQUESTS = {
    "POST": Request("POST", "/x", DigestedBody(b"body", content_digest(b"body"))),
    "GET": Request("GET", "/x"),
}
POST = REQUESTS["POST"]
each_method = pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)


@pytest.fixture(autouse=True)
def busy_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may take long while other tests run; none here is about that."""
    monkeypatch.setattr("common.http_client.CONNECT_S", 10.0)


@asynccontextmanager
async def upstream(addresses: Sequence[str]) -> AsyncIterator[Upstream]:
    """A service of these replicas, and a client of its own."""
    http = HttpClient()
    service = Upstream("test", addresses, http)
    try:
        yield service
    finally:
        await service.close()
        await http.close()


async def ask(service: Upstream, request: Request, within_s: float = 20.0) -> bytes:
    """The body of the reply."""
    deadline = asyncio.get_running_loop().time() + within_s
    return await service.ask(request, deadline, lambda reply: reply.body)


def asked(addresses: Sequence[str], request: Request = POST, within_s: float = 20.0) -> bytes:
    """The body of the reply to one request."""

    async def run() -> bytes:
        async with upstream(addresses) as service:
            return await ask(service, request, within_s)

    return asyncio.run(run())


@contextmanager
def replicas(count: int, behave: Behave) -> Iterator[list[Misbehaving]]:
    """Servers that all behave so."""
    with ExitStack() as stack:
        yield [stack.enter_context(misbehaving(behave)) for _ in range(count)]


def drip(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    for _ in range(10):
        time.sleep(0.3)
        connection.sendall(b"x")


def test_a_reply_that_drips_ends_at_the_deadline() -> None:
    """A byte now and then does not keep a request alive for ever."""
    with misbehaving(drip) as server:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            asked([server.address], within_s=0.5)

    assert time.monotonic() - began < 1


def test_nothing_is_asked_when_no_time_is_left() -> None:
    """A deadline that has passed is told without a connection."""
    with misbehaving(keep_on) as server:
        with pytest.raises(DeadlineExceeded):
            asked([server.address], within_s=0)

    assert [] == server.lines


@each_method
@pytest.mark.parametrize("count", [1, 2])
def test_no_connection_is_unavailable_at_once(request_: Request, count: int) -> None:
    """Nobody listens, at any address: that is known long before the deadline."""
    began = time.monotonic()
    with pytest.raises(Unavailable) as error:
        asked(["127.0.0.1:1", "127.0.0.1:2"][:count], request_)

    assert not isinstance(error.value, DeadlineExceeded)
    assert time.monotonic() - began < 1


ENDS = {"nothing": b"", "half": HEAD + b"half"}


@each_method
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_request_that_was_sent_whole_is_sent_twice_at_most(
    request_: Request, end: bytes, count: int
) -> None:
    """A server that reads and closes has perhaps done it: it is asked once more, never again."""
    with replicas(count, answer(end)) as servers:
        with pytest.raises(Unavailable):
            asked([one.address for one in servers], request_)

    assert [2 // count] * count == [one.asked("/x") for one in servers]


@each_method
@pytest.mark.parametrize("count", [1, 2])
def test_a_hedged_request_is_not_sent_a_third_time(request_: Request, count: int) -> None:
    """Where both replicas take longer than is usual, and then close, nobody is asked again.

    The only replica is: there was no other for a hedge.
    """

    def linger(_connection: socket.socket) -> None:
        time.sleep(0.4)

    with replicas(count, linger) as servers:
        with pytest.raises(Unavailable):
            asked([one.address for one in servers], request_)

    assert [2 // count] * count == [one.asked("/x") for one in servers]


@each_method
def test_another_replica_makes_up_for_one_that_breaks_off(request_: Request) -> None:
    """Whichever is asked first, the answer is whole."""
    with misbehaving(answer(HEAD + b"half")) as bad, misbehaving(answer(WHOLE)) as good:
        for _ in range(5):
            assert b"0123456789" == asked([bad.address, good.address], request_)
            assert b"0123456789" == asked([good.address, bad.address], request_)


def test_a_reply_that_was_changed_on_the_way_is_asked_of_another_replica() -> None:
    """The only replica is not asked again: it may well say the same."""
    head = HEAD[:-2] + f"Content-Digest: {content_digest(b'0123456789')}\r\n\r\n".encode()
    with misbehaving(answer(head + b"0123456788")) as bad, misbehaving(answer(WHOLE)) as good:
        with pytest.raises(InvalidResponse):
            asked([bad.address])
        assert 1 == bad.asked("/x")
        for _ in range(5):
            assert b"0123456789" == asked([bad.address, good.address])


@pytest.mark.parametrize("count", [1, 2])
def test_a_replica_that_drains_is_asked_no_more(count: int) -> None:
    """Its reply is taken; from then on the other one is asked, if there is one."""
    draining = HEAD[:-2] + b"X-Draining: 1\r\nConnection: close\r\n\r\n0123456789"

    def drain(connection: socket.socket) -> None:
        is_probe = servers[0].lines[-1].startswith("GET /ready")
        connection.sendall(draining.replace(b"200 OK", b"503 Busy") if is_probe else draining)

    async def run() -> None:
        async with upstream([one.address for one in servers]) as service:
            for _ in range(20):
                assert await ask(service, POST)

    with misbehaving(drain) as first, replicas(count - 1, keep_on) as others:
        servers = [first, *others]
        asyncio.run(run())

    assert first.asked("/x") == 20 if count == 1 else first.asked("/x") <= 1


@contextmanager
def closing_idle(after_s: float) -> Iterator[str]:
    """The address of a server that closes a connection after so long without a request."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        timeout = after_s

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET  # noqa: N815

    with answering(Handler) as address:
        yield address


@each_method
def test_a_kept_connection_that_is_closed_as_we_write_is_no_error(request_: Request) -> None:
    """Row 9: 500 requests, each as the server is about to close, of 50 clients."""

    async def client(address: str, seed: int) -> None:
        waits = random.Random(seed)
        async with upstream([address]) as service:
            for _ in range(10):
                assert b"ok" == await ask(service, request_)
                await asyncio.sleep(waits.uniform(0.28, 0.32))

    async def run(address: str) -> None:
        await asyncio.gather(*(client(address, seed) for seed in range(50)))

    with closing_idle(0.3) as address:
        asyncio.run(run(address))


def test_what_is_asked_of_all_replicas_goes_on_new_connections() -> None:
    """It is sent once: a kept connection may be closed as we write."""

    async def run() -> None:
        async with upstream([one.address for one in servers]) as service:
            for _ in range(10):
                await ask(service, POST)
            await service.ask_all(Request("DELETE", "/all"), asyncio.get_running_loop().time() + 5)

    with replicas(2, keep_on) as servers:
        asyncio.run(run())

    assert [1, 1] == [one.asked("/all") for one in servers]
