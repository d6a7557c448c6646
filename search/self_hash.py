"""JSON files with their own digest: the last field is the SHA-256 of all bytes before it."""

import hashlib
from typing import Protocol, TypeVar

import msgspec


class SelfHashed(Protocol):
    """A message whose last field is its own digest."""

    @property
    def sha256(self) -> str:
        """The digest; "" before the message is written and read back."""


Message = TypeVar("Message", bound=SelfHashed)
LAST = b',\n "sha256": "'
END = b'"\n}'


def with_self_hash(message: SelfHashed) -> bytes:
    """The message as indented JSON, with its own digest."""
    body, last, _ = msgspec.json.format(msgspec.json.encode(message), indent=1).rpartition(LAST)
    return body + last + _digest(body) + END


def read_self_hashed(data: bytes, kind: type[Message]) -> Message:
    """The message in bytes from `with_self_hash`; raises ValueError or DecodeError for others."""
    body, _, end = data.rpartition(LAST)
    if end != _digest(body) + END:
        raise ValueError("it is not as it was written")
    return msgspec.json.decode(data, type=kind)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
