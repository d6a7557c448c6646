"""What our services say to each other: msgpack messages, with arrays as raw little-endian bytes."""

import logging
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import BadRequest, InvalidResponse

log = logging.getLogger(__name__)

MSGPACK = "application/msgpack"
DRAINING_HEADER = "X-Draining"
"""In every reply of a server that was told to stop: the next request is for another one."""
CACHE_VERSION_HEADER = "X-Cache-Version"
"""In an answer of middle that may be kept: names all that it depends on beside its query."""
Message = TypeVar("Message")
Matrix = NDArray[np.float32]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the message they should be."""

_encoder = msgspec.msgpack.Encoder()


def encode(message: Any) -> bytes:
    """Encode a message as msgpack."""
    return _encoder.encode(message)


def decode(body: bytes, kind: type[Message]) -> Message:
    """Decode a msgpack message; raises BadRequest naming the field at fault."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except UNREADABLE as error:
        raise BadRequest(f"malformed message: {error}") from None


def decode_reply(body: bytes, kind: type[Message]) -> Message:
    """Decode what a peer answered; raises InvalidResponse: it is not the client's fault."""
    try:
        return decode(body, kind)
    except BadRequest as error:
        log.warning("a reply that is none: %s", error)
        raise InvalidResponse("a server behind this one gave no proper answer") from None


def pack_rows(rows: Matrix) -> bytes:
    """The bytes of a float32 matrix, row by row, little-endian."""
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()


def unpack_rows(data: bytes, columns: int) -> Matrix:
    """The matrix that `pack_rows` made, shape [n, columns], read-only; raises BadRequest."""
    if columns < 1 or len(data) % (4 * columns):
        raise BadRequest(f"{len(data)} bytes are no rows of {columns} float32 numbers")
    return np.frombuffer(data, dtype="<f4").reshape(-1, columns)
