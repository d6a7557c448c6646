"""The client of other services, against servers that misbehave: it sends everything once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.digest import content_digest
from common.errors import DeadlineExceeded, InvalidResponse, Unavailable
from common.http_client import (
    START_S,
    BrokenReply,
    HttpClient,
    NotConnected,
    Reply,
    Request,
    checked,
)
from devtools.fake_clock import FakeClock
from tests.common.misbehaving import HEAD, OK, WHOLE, Behave, answer, keep_on, misbehaving

LAST = WHOLE.replace(OK, OK + b"Connection: close\r\n")
GET = Request("GET", "/x")


@asynccontextmanager
async def client(now: Callable[[], float] = time.monotonic) -> AsyncIterator[HttpClient]:
    """A client that is closed in the end."""
    http = HttpClient(now=now)
    try:
        yield http
    finally:
        await http.close()


def fetched(address: str, request: Request = GET) -> Reply:
    """What a server answers to one request, if that is no error."""

    async def fetch() -> Reply:
        async with client() as http:
            return await checked(await http.send(address, request))

    return asyncio.run(fetch())


def test_a_reply_that_is_whole_is_taken() -> None:
    """Counted or in chunks."""
    chunks = OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
    for whole in (WHOLE, chunks):
        with misbehaving(answer(whole)) as server:
            assert b"0123456789" == fetched(server.address).body


BROKEN = {
    "nothing": b"",
    "half a head": OK,
    "half a body": HEAD + b"half",
    "half a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n0123",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n",
    "no end": OK + b"\r\n0123456789",
    "two lengths": OK + b"Content-Length: 9\r\nContent-Length: 10\r\n\r\n0123456789",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_reply_that_is_not_whole_is_never_taken(data: bytes, method: str) -> None:
    """Whatever is missing of it; and the client does not send the request again by itself."""
    with misbehaving(answer(data)) as server:
        with pytest.raises(BrokenReply):
            fetched(server.address, Request(method, "/x"))

    assert 1 == server.asked("/x")


def connections_of(
    behave: Behave, ask: Callable[[HttpClient, str], Coroutine[Any, Any, Any]]
) -> int:
    """How many connections a client makes to a server while it asks."""

    async def run(address: str) -> None:
        async with client() as http:
            await ask(http, address)

    with misbehaving(behave) as server:
        asyncio.run(run(server.address))
        return len(server.lines)


async def _ten(http: HttpClient, address: str) -> None:
    for _ in range(10):
        await http.send(address, GET)


def test_a_connection_is_kept_for_the_next_request() -> None:
    """Ten requests, one connection; a server that says close gets another for each."""
    last = OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n"

    assert 1 == connections_of(keep_on, _ten)
    assert 10 == connections_of(answer(last), _ten)


def test_a_retry_goes_on_a_connection_of_its_own() -> None:
    """A kept connection may be what failed; and the new one is not kept."""

    async def ask(http: HttpClient, address: str) -> None:
        for new_connection in (False, True, True, False):
            await http.send(address, GET, new_connection=new_connection)

    assert 3 == connections_of(keep_on, ask)


def test_a_request_that_is_given_up_takes_its_connection_with_it() -> None:
    """Its reply, if it still comes, is not taken for that of the next request."""

    def slow(connection: Any) -> None:
        if 1 < len(lines):
            keep_on(connection)
        elif connection.recv(1):  # waits until the client has gone
            connection.sendall(WHOLE)

    async def ask(address: str) -> bytes:
        async with client() as http:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await http.send(address, GET)
            return (await http.send(address, GET)).body

    with misbehaving(slow) as server:
        lines = server.lines
        assert b"0123456789" == asyncio.run(ask(server.address))
        assert 2 == len(lines)


def test_an_error_that_is_no_problem_says_nothing_of_its_body() -> None:
    """What another program answers is not passed on."""
    page = b"HTTP/1.1 520 Odd\r\nContent-Length: 6\r\n\r\n<html>"
    with misbehaving(answer(page)) as server:
        with pytest.raises(Unavailable) as error:
            fetched(server.address)

    assert "html" not in error.value.detail


def test_a_refused_connection_is_unavailable_and_not_late() -> None:
    """Nobody listens: known at once."""
    began = time.monotonic()
    with pytest.raises(NotConnected) as error:
        fetched("127.0.0.1:1")

    assert not isinstance(error.value, DeadlineExceeded)
    assert time.monotonic() - began < 1


def test_a_server_that_starts_with_us_is_not_missed(caplog: pytest.LogCaptureFixture) -> None:
    """Refused connections are warned of after START_S, and at once by one that has answered."""
    clock = FakeClock()

    async def warnings_of(http: HttpClient, address: str) -> list[str]:
        caplog.clear()
        with pytest.raises(NotConnected):
            await http.send(address, GET)
        return [record.message for record in caplog.records if record.levelname == "WARNING"]

    async def warned() -> tuple[int, ...]:
        async with client(clock) as http:
            with misbehaving(answer(LAST)) as server:
                await http.send(server.address, GET)
            early = await warnings_of(http, "127.0.0.1:1")
            gone = await warnings_of(http, server.address)
            clock.advance(START_S)
            late = await warnings_of(http, "127.0.0.1:1")
        return len(early), len(gone), len(late)

    assert (0, 1, 1) == asyncio.run(warned())


def test_a_reply_that_was_changed_on_the_way_is_not_taken() -> None:
    """One bit of a body that says what it should be."""
    digest = content_digest(b"0123456789")
    head = HEAD[:-2] + f"Content-Digest: {digest}\r\n\r\n".encode()
    with misbehaving(answer(head + b"0123456788")) as server:
        with pytest.raises(InvalidResponse):
            fetched(server.address)
    with misbehaving(answer(head + b"0123456789")) as server:
        assert b"0123456789" == fetched(server.address).body


def test_a_redirect_is_not_followed() -> None:
    """It is the answer: none of our services moves."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
    with misbehaving(answer(moved)) as server:
        assert 302 == fetched(server.address).status

    assert ["GET /x HTTP/1.1"] == server.lines
