"""The client of other services, against peers that misbehave."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from common.connection import wait
from common.digest import content_digest
from common.errors import DeadlineExceeded, Garbled, Unavailable
from common.peer import Peer
from tests.answering import Quiet, answering
from tests.proxy import reset

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
Behave = Callable[[socket.socket], None]


@contextmanager
def peer(behave: Behave) -> Iterator[tuple[Peer, list[int]]]:
    """A Peer whose other end treats each connection so; and how many requests came."""
    requests: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.recv(65536)
                    requests.append(1)
                    behave(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = Peer(f"127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield client, requests
        finally:
            client.close()
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def drip(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    for _ in range(10):
        time.sleep(0.3)
        connection.sendall(b"x")


def test_a_reply_that_drips_ends_at_the_deadline() -> None:
    """A byte now and then does not keep a request alive for ever."""
    with peer(drip) as (client, _):
        with pytest.raises(DeadlineExceeded):
            client.post("/", b"", time.monotonic() + 0.5)


def test_half_a_reply_is_asked_for_once_more_and_never_taken() -> None:
    """A body that breaks off is an error, after one retry."""
    with peer(lambda connection: connection.sendall(HEAD + b"half")) as (client, requests):
        with pytest.raises(Unavailable):
            client.post("/", b"", time.monotonic() + 5)

    assert 2 == len(requests)


def test_a_reply_that_is_whole_is_taken() -> None:
    """The same peer, well behaved."""
    with peer(lambda connection: connection.sendall(HEAD + b"0123456789")) as (client, _):
        assert b"0123456789" == client.post("/", b"", time.monotonic() + 5)


def keep_on(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"0123456789")
    while connection.recv(65536):
        connection.sendall(HEAD + b"9876543210")


def test_a_connection_is_kept_for_the_next_request() -> None:
    """Ten requests, one connection; a peer that says close gets another for each."""
    with peer(keep_on) as (client, connections):
        for _ in range(10):
            client.post("/", b"", time.monotonic() + 5)
        assert 1 == len(connections)
    last = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with peer(lambda connection: connection.sendall(last + b"0123456789")) as (client, closed):
        for _ in range(3):
            client.post("/", b"", time.monotonic() + 5)
        assert 3 == len(closed)


def test_giving_up_after_the_reply_leaves_the_connection_to_others() -> None:
    """An exchange that is over has no connection any more: whoever took it keeps it."""
    with peer(keep_on) as (client, connections):
        deadline = time.monotonic() + 5
        exchange = client.begin(client.request("GET", "/", b""), deadline)
        while not exchange.advance():
            wait([exchange.connection], deadline)
        exchange.abandon()
        client.post("/", b"", deadline)
        assert 1 == len(connections)


def test_an_error_that_is_no_problem_says_nothing_of_its_body() -> None:
    """What another program answers is not passed on."""
    page = b"HTTP/1.1 520 Odd\r\nContent-Length: 6\r\n\r\n<html>"
    with peer(lambda connection: connection.sendall(page)) as (client, _):
        with pytest.raises(Unavailable) as error:
            client.post("/", b"", time.monotonic() + 5)

    assert "html" not in error.value.detail


def test_nothing_is_asked_when_no_time_is_left() -> None:
    """A deadline that has passed is told without a connection."""
    with peer(drip) as (client, requests):
        with pytest.raises(DeadlineExceeded):
            client.get("/", time.monotonic())

    assert [] == requests


def test_a_refused_connection_is_unavailable_and_not_late() -> None:
    """Nobody listens: known at once."""
    with pytest.raises(Unavailable) as error:
        Peer("127.0.0.1:1").get("/", time.monotonic() + 5)
    assert not isinstance(error.value, DeadlineExceeded)


def test_a_reply_that_was_changed_on_the_way_is_not_taken() -> None:
    """One bit of a body that says what it should be."""
    sealed = HEAD[:-2] + f"Content-Digest: {content_digest(b'0123456789')}\r\n\r\n".encode()
    with peer(lambda connection: connection.sendall(sealed + b"0123456788")) as (client, _):
        with pytest.raises(Garbled):
            client.post("/", b"", time.monotonic() + 5)
    with peer(lambda connection: connection.sendall(sealed + b"0123456789")) as (client, _):
        assert b"0123456789" == client.post("/", b"", time.monotonic() + 5)


def test_every_connection_that_breaks_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was kept, and the new ones that are cut as soon as they are made."""
    opened: list[socket.socket] = []
    accepted: list[socket.socket] = []
    connect = socket.create_connection

    def connect_and_cut(*how: Any) -> socket.socket:
        opened.append(connect(*how))
        accepted.append(listener.accept()[0])
        if len(opened) == 1:
            accepted[0].sendall(HEAD + b"0123456789")
        else:
            reset(accepted[-1])
        return opened[-1]

    monkeypatch.setattr(socket, "create_connection", connect_and_cut)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Peer(f"127.0.0.1:{listener.getsockname()[1]}")
        assert b"0123456789" == client.get("/", time.monotonic() + 5)
        reset(accepted[0])
        with pytest.raises(Unavailable):
            client.get("/", time.monotonic() + 5)

    assert 3 == len(opened)
    assert {-1} == {one.fileno() for one in opened}


@contextmanager
def closing_idle(after_s: float) -> Iterator[str]:
    """The address of a server that closes a connection after so long without a request."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        timeout = after_s

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    with answering(Handler) as address:
        yield address


def test_a_kept_connection_that_is_closed_as_we_write_is_no_error() -> None:
    """Row 9: 500 requests, each as the server is about to close, in 50 threads."""
    failed: list[Exception] = []

    def ask(address: str, seed: int) -> None:
        waits = random.Random(seed)
        client = Peer(address)
        try:
            for _ in range(10):
                assert b"ok" == client.post("/", b"body", time.monotonic() + 5)
                time.sleep(waits.uniform(0.28, 0.32))
        except Exception as error:
            failed.append(error)
        finally:
            client.close()

    with closing_idle(0.3) as address:
        threads = [threading.Thread(target=ask, args=(address, seed)) for seed in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [] == failed
