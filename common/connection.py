"""An HTTP/1.1 connection that is kept open: one request at a time, replies read by httptools.

It never waits by itself, so that a caller can wait for several at once: `wait`.
"""

import select
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import httptools

RECEIVE_BYTES = 2**16
NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
CONNECT_S = 0.5
"""A host that is there takes a connection in a few milliseconds, also when its process hangs."""


class BrokenReply(Exception):
    """The connection ended, or held something else, before the reply was whole."""


class Reply(NamedTuple):
    """What was answered; the names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Who made it uses it from one thread at a time, and not again after an exception."""

    def __init__(
        self, host: str, port: int, deadline: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """`deadline` is on time.monotonic(); raises OSError, TimeoutError when it has passed."""
        left_s = seconds_left(deadline)
        try:
            self._socket = socket.create_connection((host, port), min(CONNECT_S, left_s))
        except TimeoutError:
            seconds_left(deadline)  # raises where it was the deadline
            raise ConnectionError("no connection in time") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self._socket = _encrypted(self._socket, host, deadline, tls)
        self._socket.setblocking(False)
        self.is_kept = False
        """Whether it may be used again after the reply that was read last."""

    def fileno(self) -> int:
        """The number of the socket's file."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Begin to send a request, all of it where there is room; raises OSError."""
        self._unsent = memoryview(request)
        self._reading = Reading()
        self._parser = httptools.HttpResponseParser(self._reading)
        self._write()

    def awaited(self) -> int:
        """What must come about before `read` gets on, as select.poll names it."""
        return select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN

    def read(self) -> Reply | None:
        """The reply once it is whole; raises BrokenReply and OSError."""
        if self._unsent:
            self._write()
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except NOT_YET:
            return None
        if not data:
            raise BrokenReply("the reply broke off")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BrokenReply(f"no HTTP reply: {error}") from None
        if not self._reading.complete:
            return None
        # not the parser's should_keep_alive: after the end of a message it always says no
        is_last = self._reading.headers.get("connection", "").lower() == "close"
        self.is_kept = self._parser.get_http_version() == "1.1" and not (is_last or self._unsent)
        parts = b"".join(self._reading.parts)
        return Reply(self._parser.get_status_code(), self._reading.headers, parts)

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except NOT_YET:
            return
        self._unsent = self._unsent[sent:]


def wait(connections: Iterable[Connection], until: float) -> bool:
    """Wait until one of them can get on; False when it is `until`, on time.monotonic()."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, connection.awaited())
    return bool(poll.poll(1000 * max(0.0, until - time.monotonic())))


def seconds_left(deadline: float) -> float:
    """The seconds that are left; raises TimeoutError when there are none."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the deadline passed")
    return left_s


class Reading:
    """What httptools calls while it reads a reply."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.head_complete = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; not those that come after the body."""
        if not self.head_complete:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The status and the headers are there."""
        self.head_complete = True

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self.parts.append(part)

    def on_message_complete(self) -> None:
        """The body is there."""
        self.complete = True


def _encrypted(
    plain: socket.socket, host: str, deadline: float, tls: ssl.SSLContext
) -> ssl.SSLSocket:
    """The socket after its handshake; closed when that fails."""
    try:
        plain.settimeout(min(CONNECT_S, seconds_left(deadline)))
        return tls.wrap_socket(plain, server_hostname=host)
    except TimeoutError:
        plain.close()
        seconds_left(deadline)  # raises where it was the deadline
        raise ConnectionError("no TLS handshake in time") from None
    except BaseException:
        plain.close()
        raise
