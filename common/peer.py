"""Another of our services: requests to it, on connections that are kept open."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from common.connection import BrokenReply, Connection, Reply, seconds_left, wait
from common.digest import DIGEST, WANTED, content_digest
from common.errors import (
    DeadlineExceeded,
    Garbled,
    Problem,
    ServiceError,
    Unauthorized,
    Unavailable,
)
from common.inside import Inside
from common.origin import ORIGIN
from common.wire import MSGPACK

log = logging.getLogger(__name__)

Made = TypeVar("Made")


class Peer:
    """Another of our services, and the connections to it that are kept open."""

    def __init__(self, address: str, connections: int = 1, inside: Inside | None = None) -> None:
        """`address` is "host:port"; `connections` is how many requests may be under way.

        `inside` is how we show who we are, to those of ours who want to know.
        """
        self.address = address
        self._inside = inside
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._kept: deque[Connection] = deque()
        self._connections = connections

    def get(self, path: str, deadline: float, headers: dict[str, str] | None = None) -> bytes:
        """The body that `path` answers with; raises as `post` does."""
        return self.ask("GET", path, b"", deadline, headers).body

    def post(
        self, path: str, body: bytes, deadline: float, headers: dict[str, str] | None = None
    ) -> bytes:
        """Send a msgpack body and return the one that comes back.

        `deadline` is on the clock of time.monotonic(). Raises DeadlineExceeded, Unavailable when
        there is no whole answer, and the ServiceError that the peer answered with.
        """
        return self.ask("POST", path, body, deadline, headers).body

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._kept:
            self._kept.pop().close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        deadline: float,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """As `post`, with any method, for callers that want the reply's headers too.

        One that breaks is asked once more.
        """
        request = self.request(method, path, body, headers)
        try:
            try:
                reply = self.fetch(request, deadline)
            except TimeoutError:
                raise
            except (OSError, BrokenReply):
                reply = self.fetch(request, deadline)
        except TimeoutError:
            log.warning("%s: no answer in time", self.address)
            raise DeadlineExceeded("a server behind this one did not answer in time") from None
        except (OSError, BrokenReply) as error:
            log.warning("%s: %s", self.address, error)
            raise Unavailable("a server behind this one cannot be reached") from None
        return checked(reply)

    def request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """A request to this peer, for `begin`; its reply is to be sealed, too."""
        ours = {WANTED: "sha-256=1", **(self._inside.headers() if self._inside else {})}
        if body and not (headers and DIGEST in headers):
            ours[DIGEST] = content_digest(body)
        return _request(method, path, self.address, {**ours, **(headers or {})}, body)

    def begin(self, request: bytes, deadline: float) -> "Exchange":
        """Send a request, and wait for nothing but the connection; raises OSError."""
        return Exchange(self, request, deadline)

    def open(self, deadline: float) -> Connection:
        """A new connection; raises OSError, TimeoutError when the deadline has passed."""
        tls = self._inside.context() if self._inside else None
        return Connection(self._host, self._port, deadline, tls)

    def kept(self) -> Connection | None:
        """A connection from before, which the peer may have closed since."""
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def keep(self, connection: Connection) -> None:
        """Take back a connection whose reply has been read."""
        if connection.is_kept and len(self._kept) < self._connections:
            self._kept.append(connection)
        else:
            connection.close()

    def fetch(self, request: bytes, deadline: float) -> Reply:
        """Whatever is answered; raises BrokenReply, OSError, and TimeoutError at the deadline."""
        exchange = self.begin(request, deadline)
        try:
            while not (reply := exchange.advance()):
                seconds_left(deadline)
                wait([exchange.connection], deadline)
        except BaseException:
            exchange.abandon()
            raise
        return reply


class Exchange:
    """One request to a peer that is under way; it is sent again where a kept connection breaks,
    mostly as the peer closed it just as we wrote."""

    def __init__(self, peer: Peer, request: bytes, deadline: float) -> None:
        """Raises OSError, TimeoutError when the deadline has passed."""
        self._peer = peer
        self._request = request
        self._deadline = deadline
        seconds_left(deadline)
        kept = peer.kept()
        self._is_new = kept is None
        self._is_over = False
        self.connection = kept or peer.open(deadline)
        """The one to wait for."""
        self._step(self._send)

    def advance(self) -> Reply | None:
        """The reply once it is whole; raises BrokenReply and OSError, also TimeoutError."""
        reply = self._step(lambda: self.connection.read())
        if reply:
            self._is_over = True
            self._peer.keep(self.connection)
        return reply

    def abandon(self) -> None:
        """Wait for no reply; a peer that looks sees that nobody does."""
        if not self._is_over:  # else the connection may be somebody else's by now
            self.connection.close()

    def _send(self) -> None:
        self.connection.send(self._request)

    def _step(self, step: Callable[[], Made]) -> Made | None:
        try:
            return step()
        except (OSError, BrokenReply):
            self.connection.close()
            if self._is_new:
                raise
        self._is_new = True
        self.connection = self._peer.open(self._deadline)
        self._step(self._send)  # which closes it where it breaks too
        return None


def checked(reply: Reply, *, must_be_sealed: bool = False) -> Reply:
    """A reply that is no error; raises the ServiceError that it is, or Garbled."""
    digest = reply.headers.get(DIGEST.lower())
    if must_be_sealed if digest is None else digest != content_digest(reply.body):
        raise Garbled("a server behind this one answered what was changed on the way")
    if reply.status >= 400:
        problem = problem_of(reply.status, reply.body)
        if problem.code == Unauthorized.code:  # us, not the client who asks us
            log.warning("a server behind this one refuses our token: see Inside.token-file")
            raise Unavailable("a server behind this one refuses us")
        raise problem.error()
    return reply


def _request(
    method: str, path: str, address: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    """A request as HTTP/1.1 has it; raises ValueError for a header that would end its line."""
    headers = {
        "Host": address,
        "Content-Type": MSGPACK,
        "Content-Length": str(len(body)),
        **ORIGIN.get().headers(),
        **headers,
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, "", ""])
    if head.count("\n") != len(lines) + 1 or head.count("\r") != len(lines) + 1:
        raise ValueError(f"a header of {method} {path} holds a line break")
    return head.encode("latin-1") + body


def problem_of(status: int, body: bytes) -> Problem:
    """The problem in an error reply, also when the peer is not one of ours."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
        if problem.status == status:
            return problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    code = Unavailable.code if status >= 500 else ServiceError.code
    detail = f"a server behind this one answered with HTTP status {status}"
    return Problem(503 if status >= 500 else status, code, detail)
