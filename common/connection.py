"""An HTTP/1.1 connection that is kept open: one request at a time, replies read by httptools."""

import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

import httptools

RECEIVE_BYTES = 2**16


class BrokenReply(Exception):
    """The connection ended, or held something else, before the reply was whole."""


class Reply(NamedTuple):
    """What was answered; the names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Who made it uses it from one thread at a time, and not again after an exception."""

    def __init__(self, host: str, port: int, deadline: float) -> None:
        """`deadline` is on time.monotonic(); raises OSError, TimeoutError when it has passed."""
        self._socket = socket.create_connection((host, port), _left_s(deadline))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def ask(self, request: bytes, deadline: float) -> tuple[Reply, bool]:
        """Send a request and read the reply, and whether the connection may be used again.

        Raises BrokenReply, OSError, and TimeoutError when the whole reply is not there in time.
        """
        self._socket.settimeout(_left_s(deadline))
        self._socket.sendall(request)
        reading = _Reading()
        parser = httptools.HttpResponseParser(reading)
        while not reading.complete:
            self._socket.settimeout(_left_s(deadline))
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                raise BrokenReply("the reply broke off")
            try:
                parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise BrokenReply(f"no HTTP reply: {error}") from None
        reply = Reply(parser.get_status_code(), reading.headers, b"".join(reading.parts))
        return reply, parser.should_keep_alive()


class _Reading:
    """What httptools calls while it reads."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True


def _left_s(deadline: float) -> float:
    """The seconds that are left; raises TimeoutError when there are none."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the deadline passed")
    return left_s
