"""Servers that treat each connection as a test says, and count what was asked of them."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
HEAD = OK + b"Content-Length: 10\r\n\r\n"
WHOLE = HEAD + b"0123456789"
Behave = Callable[[socket.socket], None]


class Misbehaving(NamedTuple):
    """Where the server is, and the first line of the first request on each connection."""

    address: str
    lines: list[str]

    def asked(self, path: str) -> int:
        """How many connections were first asked for a path."""
        return sum(line.split()[1] == path for line in self.lines)


@contextmanager
def misbehaving(behave: Behave) -> Iterator[Misbehaving]:
    """A server that reads a request from each connection, behaves so, and closes it."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if data := connection.recv(65536):
                lines.append(data.split(b"\r\n")[0].decode("latin-1"))
                behave(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield Misbehaving(f"127.0.0.1:{listener.getsockname()[1]}", lines)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def answer(data: bytes) -> Behave:
    """Answer every request with the same bytes, however many of a reply they are."""
    return lambda connection: connection.sendall(data)


def keep_on(connection: socket.socket) -> None:
    """Answer requests until the client closes the connection."""
    connection.sendall(WHOLE)
    while connection.recv(65536):
        connection.sendall(HEAD + b"9876543210")
