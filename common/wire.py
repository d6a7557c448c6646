"""The wire between our services: msgpack messages, with arrays as raw little-endian bytes."""

import logging
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import BadRequest, InvalidResponse

log = logging.getLogger(__name__)

MSGPACK = "application/msgpack"
DRAINING_HEADER = "X-Draining"
"""A header in each reply of a draining server: the client then asks other replicas."""
CACHE_VERSION_HEADER = "X-Cache-Version"
"""A header in an answer that front may cache. Its value names all that the answer depends on,
beside the query."""
Message = TypeVar("Message")
Matrix = NDArray[np.float32]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of msgspec for bytes that are not a valid message."""

_encoder = msgspec.msgpack.Encoder()


def prepare_messages() -> None:
    """Have msgspec prepare all types of messages, before a service has threads.

    msgspec prepares a type when it is first decoded, and crashes if another thread decodes the type
    meanwhile: a service ended by its first queries (msgspec 0.22).
    """
    for kind in _kinds(msgspec.Struct):
        msgspec.msgpack.Decoder(kind)


def encode(message: Any) -> bytes:
    """Encode a message as msgpack."""
    return _encoder.encode(message)


def decode(body: bytes, kind: type[Message]) -> Message:
    """Decode a msgpack message; raises BadRequest that names the wrong field."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except UNREADABLE as error:
        raise BadRequest(f"malformed message: {error}") from None


def decode_reply(body: bytes, kind: type[Message]) -> Message:
    """Decode a service's reply; raises InvalidResponse, since the client is not at fault."""
    try:
        return decode(body, kind)
    except BadRequest as error:
        log.warning("a reply that is none: %s", error)
        raise InvalidResponse("a server behind this one gave no proper answer") from None


def pack_rows(rows: Matrix) -> bytes:
    """The bytes of a float32 matrix, row by row, little-endian."""
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()


def unpack_rows(data: bytes, columns: int) -> Matrix:
    """The read-only matrix [n, columns] of bytes from `pack_rows`; raises BadRequest."""
    if columns < 1 or len(data) % (4 * columns):
        raise BadRequest(f"{len(data)} bytes are no rows of {columns} float32 numbers")
    return np.frombuffer(data, dtype="<f4").reshape(-1, columns)


def _kinds(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)
