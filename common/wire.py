"""What our services say to each other: msgpack messages, with arrays as raw little-endian bytes."""

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.connection import BrokenReply, Connection, Reply
from common.errors import BadRequest, DeadlineExceeded, Problem, ServiceError, Unavailable

log = logging.getLogger(__name__)

MSGPACK = "application/msgpack"
Message = TypeVar("Message")
Matrix = NDArray[np.float32]

_encoder = msgspec.msgpack.Encoder()


def encode(message: Any) -> bytes:
    """Encode a message as msgpack."""
    return _encoder.encode(message)


def decode(body: bytes, kind: type[Message]) -> Message:
    """Decode a msgpack message; raises BadRequest naming the field at fault."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"malformed message: {error}") from None


def decode_reply(body: bytes, kind: type[Message]) -> Message:
    """Decode what a peer answered; raises Unavailable: it is not the client's fault."""
    try:
        return decode(body, kind)
    except BadRequest as error:
        log.warning("a reply that is none: %s", error)
        raise Unavailable("a server behind this one gave no proper answer") from None


def pack_rows(rows: Matrix) -> bytes:
    """The bytes of a float32 matrix, row by row, little-endian."""
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()


def unpack_rows(data: bytes, columns: int) -> Matrix:
    """The matrix that `pack_rows` made, shape [n, columns], read-only; raises BadRequest."""
    if columns < 1 or len(data) % (4 * columns):
        raise BadRequest(f"{len(data)} bytes are no rows of {columns} float32 numbers")
    return np.frombuffer(data, dtype="<f4").reshape(-1, columns)


class Peer:
    """Another of our services, and the connections to it that are kept open."""

    def __init__(self, address: str, connections: int = 1) -> None:
        """`address` is "host:port"; `connections` is how many requests may be under way."""
        self.address = address
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
        """As `post`, with any method, for callers that want the reply's headers too."""
        request = _request(method, path, self.address, headers or {}, body)
        try:
            reply = self._kept_or_new(request, deadline)
        except TimeoutError:
            log.warning("%s: no answer in time", self.address)
            raise DeadlineExceeded("a server behind this one did not answer in time") from None
        except (OSError, BrokenReply) as error:
            log.warning("%s: %s", self.address, error)
            raise Unavailable("a server behind this one cannot be reached") from None
        if reply.status >= 400:
            raise problem_of(reply.status, reply.body).error()
        return reply

    def _kept_or_new(self, request: bytes, deadline: float) -> Reply:
        """Ask on a connection; once more on a new one when it breaks, mostly a kept one that the
        peer closed just as we wrote."""
        try:
            connection = self._kept.pop()
        except IndexError:
            connection = Connection(self._host, self._port, deadline)
        try:
            return self._on(connection, request, deadline)
        except TimeoutError:
            raise
        except (OSError, BrokenReply):
            return self._on(Connection(self._host, self._port, deadline), request, deadline)

    def _on(self, connection: Connection, request: bytes, deadline: float) -> Reply:
        try:
            reply, is_kept = connection.ask(request, deadline)
        except BaseException:
            connection.close()
            raise
        if is_kept and len(self._kept) < self._connections:
            self._kept.append(connection)
        else:
            connection.close()
        return reply


def _request(
    method: str, path: str, address: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    """A request as HTTP/1.1 has it; raises ValueError for a header that would end its line."""
    headers = {
        "Host": address,
        "Content-Type": MSGPACK,
        "Content-Length": str(len(body)),
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
        return msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        code = Unavailable.code if status >= 500 else ServiceError.code
        detail = f"a server behind this one answered with HTTP status {status}"
        return Problem(503 if status >= 500 else status, code, detail)
