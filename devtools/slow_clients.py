"""Clients that send or read byte by byte, and queries beside them."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from devtools import open_loop

DRIP_S = 0.5
SETTLE_S = 2.0
"""The readers ask for 90 MB at the start. This load is not measured."""
LARGE = "/docs/swagger/js/swagger-ui-bundle.js"
"""1.4 MB, more than the buffers of a connection."""
HEAD = b"POST /v1/search HTTP/1.1\r\nHost: slow\r\nX-Slow: "
BODY = (
    b"POST /v1/search HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
READING = f"GET {LARGE} HTTP/1.1\r\nHost: slow\r\n\r\n".encode()
KINDS = (HEAD, BODY, READING)
RECEIVE_BYTES = 2048
SOURCES = [f"127.0.1.{number}" for number in range(1, 21)]
"""Many addresses, as the edge limits the connections of an address."""


def ask_beside(port: int, rate: float, seconds: float, clients: int) -> list[open_loop.Reply]:
    """The replies to `rate` new queries a second beside so many slow clients."""
    texts = (f"a photo of square {number}" for number in itertools.count())
    due = open_loop.later(open_loop.draw(rate, seconds, texts, seed=clients), SETTLE_S)
    with slow_clients(port, clients):
        return open_loop.send(f"127.0.0.1:{port}", due, 10, len(due), "/v1/search")


@contextmanager
def slow_clients(port: int, clients: int) -> Iterator[None]:
    """Run slow clients on loopback, a third of each kind, until the block ends.

    A client connects again after the server closes its connection.
    """
    connections = [_connect(port, number) for number in range(clients)]
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(DRIP_S):
            for number, connection in enumerate(connections):
                if not _go_on(connection, KINDS[number % len(KINDS)]):
                    connection.close()
                    with suppress(OSError):  # the server accepts no connection now
                        connections[number] = _connect(port, number)

    thread = threading.Thread(target=drip, name="slow clients")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for connection in connections:
            connection.close()


def _connect(port: int, number: int) -> socket.socket:
    """A client that has sent a part of a head, a part of a body, or a whole request."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.bind((SOURCES[number % len(SOURCES)], 0))
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    connection.sendall(KINDS[number % len(KINDS)])
    connection.setblocking(False)
    return connection


def _go_on(connection: socket.socket, kind: bytes) -> bool:
    """Send or read a byte; False if the server has closed the connection."""
    try:
        if kind != READING:
            connection.send(b" ")
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
