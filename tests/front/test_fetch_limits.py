"""Fetching for image_url: what fails, what is too much, and that nobody can hold us."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from common.config import Front
from common.errors import Overloaded, ServiceError
from common.loop import LoopThread
from devtools.services import free_ports
from front.image_fetch import AT_ONCE, Fetcher, Internet
from tests.front.fake_website import OK, Elsewhere, elsewhere, moved, reply
from tests.front.fetching import HERE, HOST, MAX_BYTES, at, code, refusal


@pytest.fixture
def server() -> Iterator[Elsewhere]:
    """A server at HERE, which HOST is the name of."""
    with elsewhere(HERE) as running:
        yield running


FAILURES = {
    "not found": reply(b"secret", status="404 Not Found"),
    "no content": reply(b"", status="204 No Content"),
    "part": reply(b"part", "Content-Range: bytes 0-3/9", status="206 Partial Content"),
    "error": reply(b"secret", status="500 Internal Server Error"),
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "early hints": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "compressed": reply(b"bytes", "Content-Encoding: gzip"),
    "cut": reply(b"bytes")[:-1],
    "cut head": OK,
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two lengths": reply(b"bytes", "Content-Length: 6"),
    "long": reply(bytes(MAX_BYTES + 1)),
    "long until the end": OK + b"\r\n" + bytes(MAX_BYTES + 1),
    "long head": OK + b"X-Long: " + bytes(2**17).replace(b"\0", b"a"),
    "circle": moved("/"),
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_all_failures_are_told_alike(server: Elsewhere, answer: bytes) -> None:
    """Whether nobody listens, or what answers, and how, is told to nobody."""
    server.answers["/"] = answer
    (closed,) = free_ports(1)

    failed = refusal(at(server, "/"), [server.port])
    nobody = refusal(f"http://{HOST}:{closed}/", [closed])

    assert ("image_url_failed", failed.detail) == (failed.code, nobody.detail)


CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "silence": (b"", b""),
    "head": (OK + b"X-Drip: ", b"a"),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (OK + b"\r\n", b"a"),
    "chunks": (CHUNKS, b"1\r\na\r\n"),
}


@pytest.mark.parametrize(("begin", "drip"), DRIPS.values(), ids=DRIPS)
def test_a_slow_server_does_not_hold_us(server: Elsewhere, begin: bytes, drip: bytes) -> None:
    """All together may take so long; a byte now and then gains nothing."""
    server.answers["/"], server.drips["/"] = begin, drip

    assert "image_url_failed" == code(at(server, "/"), [server.port], time_ms=300)


def test_a_server_that_says_nothing_is_asked_once(server: Elsewhere) -> None:
    """A fetch that fails is not tried again: whoever runs that server is not to be bothered."""
    assert "image_url_failed" == code(at(server, "/"), [server.port])
    assert ["/"] == server.paths


def test_a_slow_look_up_does_not_hold_us(server: Elsewhere) -> None:
    """Looking up a name is part of the time, and what comes too late is not used."""
    asked = threading.Event()

    def look_up(_host: str) -> list[str]:
        asked.wait(0.5)
        return [HERE]

    assert "image_url_failed" == code(at(server, "/"), [server.port], look_up, 100)
    assert [] == server.heads


def test_many_fetches_at_a_time_are_refused(server: Elsewhere) -> None:
    """As many as are under way may wait; the next is told at once to come again."""
    server.answers["/"] = reply(b"bytes")
    begun, go = threading.Semaphore(0), threading.Event()

    def look_up(_host: str) -> list[str]:
        begun.release()
        go.wait()
        return [HERE]

    def try_one(_number: int) -> bytes | ServiceError:
        try:
            return loop.run(fetcher.fetch(at(server, "/")))
        except Overloaded as error:
            go.set()
            return error

    front = Front(image_url_ports=(server.port,))
    internet = Internet(look_up, lambda _: True)
    loop = LoopThread()
    loop.start()
    with (
        closing(loop),
        closing(Fetcher(front, internet)) as fetcher,
        ThreadPoolExecutor(3 * AT_ONCE) as pool,
    ):
        first = pool.map(try_one, range(AT_ONCE))
        for _ in range(AT_ONCE):
            begun.acquire()
        last = list(pool.map(try_one, range(AT_ONCE + 1)))

    assert [b"bytes"] * AT_ONCE == list(first)
    assert [b"bytes"] * AT_ONCE == [one for one in last if isinstance(one, bytes)]
