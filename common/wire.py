"""What our services say to each other: msgpack messages, with arrays as raw little-endian bytes."""

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import urllib3
from numpy.typing import NDArray
from urllib3 import exceptions

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


class Reply(NamedTuple):
    """What a peer answered with, and the headers that came with it."""

    body: bytes
    headers: Mapping[str, str]


class Peer:
    """Another of our services, and the connections to it that are kept open."""

    def __init__(self, address: str, connections: int = 1) -> None:
        """`address` is "host:port"; `connections` is how many requests may be under way."""
        self.address = address
        host, _, port = address.rpartition(":")
        self._pool = urllib3.HTTPConnectionPool(
            host, int(port), maxsize=connections, block=False, retries=False
        )

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
        """Close the connections."""
        self._pool.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        deadline: float,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """As `post`, with any method, for callers that want the reply's headers too."""
        headers = {"Content-Type": MSGPACK, **(headers or {})}
        try:
            try:
                status, reply = self._once(method, path, body, deadline, headers)
            except exceptions.ProtocolError:  # the peer closed an idle connection just as we wrote
                status, reply = self._once(method, path, body, deadline, headers)
        except exceptions.HTTPError as error:
            log.warning("%s: %s", self.address, error)
            # a refused connection counts as a timeout with urllib3, but not with us
            refused = isinstance(error, exceptions.NewConnectionError)
            if isinstance(error, exceptions.TimeoutError) and not refused:
                raise DeadlineExceeded("a server behind this one did not answer in time") from None
            raise Unavailable("a server behind this one cannot be reached") from None
        if status >= 400:
            raise problem_of(status, reply.body).error()
        return reply

    def _once(
        self, method: str, path: str, body: bytes, deadline: float, headers: dict[str, str]
    ) -> tuple[int, Reply]:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineExceeded("the deadline passed before the server behind was asked")
        response = self._pool.request(
            method,
            path,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=remaining_s),
            redirect=False,
            preload_content=False,
        )
        return response.status, Reply(_read(response, deadline), response.headers)


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The whole body; a socket's timeout alone would let a slow one drip for ever."""
    parts = []
    while part := response.read1():
        parts.append(part)
        if time.monotonic() > deadline:
            response.close()
            raise DeadlineExceeded("a server behind this one did not answer in time")
    if response.length_remaining:  # read1 does not mind
        response.close()
        raise exceptions.ProtocolError("the reply broke off")
    response.release_conn()
    return b"".join(parts)


def problem_of(status: int, body: bytes) -> Problem:
    """The problem in an error reply, also when the peer is not one of ours."""
    try:
        return msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        code = Unavailable.code if status >= 500 else ServiceError.code
        detail = f"a server behind this one answered with HTTP status {status}"
        return Problem(503 if status >= 500 else status, code, detail)
