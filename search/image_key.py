"""The key of an image: three hashes that give its id, its shard and its look."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.errors import BadRequest
from common.files import location_hash
from search.messages import Sharding

IMAGE_KEY = np.dtype([("content", ">u8"), ("location", ">u8"), ("perceptual", ">u8")])
"""Hashes of the file's bytes and of its path, together the id; and the perceptual hash."""

KEY_BYTES = np.dtype(f"S{IMAGE_KEY.itemsize}")
"""A key as bytes, for fast look-ups. The order is the same, as its hashes are big-endian."""

SHORT = 13
"""Digits of an id that make its number, for clients whose ids are numbers: 52 bits, which a double
holds exactly. Copies of a file have the same number."""

Keys = NDArray[np.void]
Hash = TypeVar("Hash", int, NDArray[np.uint64])


def key_of(content: str, path: str, perceptual: str) -> bytes:
    """The bytes of the key of an image, from two of its hashes in hex and its path."""
    return bytes.fromhex(f"{content}{location_hash(path):016x}{perceptual}")


def image_id(key: bytes) -> str:
    """The id of an image, 32 hexadecimal digits, from the bytes of its key."""
    return key[:16].hex()


def parse_id(text: str) -> tuple[int, int]:
    """The content hash and the location hash in an id; raises BadRequest."""
    if len(text) != 32 or not _is_hex(text):
        raise BadRequest("an id is 32 lower-case hexadecimal digits")
    return int(text[:16], 16), int(text[16:], 16)


def hashes_of(key: bytes) -> tuple[int, int]:
    """The content hash and the location hash in a key, or in its first 16 bytes."""
    return int.from_bytes(key[:8], "big"), int.from_bytes(key[8:16], "big")


def is_short(text: str) -> bool:
    """Whether a text is the start of an id that makes its number."""
    return len(text) == SHORT and _is_hex(text)


def _is_hex(text: str) -> bool:
    return set(text) <= set("0123456789abcdef")


def shard_of(content: Hash, shard_count: int, sharding: Sharding = "range") -> Hash:
    """The shard of an image, by its content hash: copies of a file lie in one shard.

    A range of the upper 32 bits each, so that shard s of S is shards 2s and 2s+1 of 2S.
    """
    if sharding == "modulo":
        return content % shard_count
    return content // 2**32 * shard_count // 2**32
