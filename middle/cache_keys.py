"""The keys of the prediction cache: equal keys mean equal answers."""

import struct
from hashlib import blake2b
from typing import Any, NamedTuple
from unicodedata import normalize

import msgspec

from inference.messages import Region
from middle.messages import Query

KEY_BYTES = 16


class ImageFile(NamedTuple):
    """An image file, or a region of it, and the digest of both for cache keys."""

    data: bytes
    digest: bytes
    region: Region | None = None


def image_file(data: bytes, region: Region | None = None) -> ImageFile:
    """Compute the digest of an image file and region; takes 1 ms a megabyte."""
    digest = blake2b(data, digest_size=32).digest()
    if region:
        digest = blake2b(struct.pack("<4d", *region), digest_size=32, key=digest).digest()
    return ImageFile(data, digest, region)


def normal_text(text: str) -> str:
    """The form of a text whose language is told and that is embedded.

    Plain letters for those of other shapes or widths (NFKC), single spaces between words.
    """
    return " ".join(normalize("NFKC", text).split())


def embedding_key(digest: str, item: str | ImageFile) -> str:
    """The key of an embedding: of a normal text or an image, by the model with `digest`."""
    return "embedding:" + _hash(digest, item if isinstance(item, str) else item.digest)


def encoding_key(digest: str, image: ImageFile) -> str:
    """The key of an image that the model with `digest` has encoded for segments."""
    return "encoding:" + _hash(digest, image.digest)


def result_key(query: Query, image: ImageFile | None, *about: str | int) -> str:
    """The key of a query's answer; `about` is all else that the answer depends on."""
    if image is not None:
        query = msgspec.structs.replace(query, image=image.digest)
    return "result:" + _hash(query, *about)


def cache_version(epoch: bytes, *about: str | int | float | None) -> str:
    """Names all that answers depend on, beside their queries."""
    return _hash(epoch, *about)


def _hash(*parts: Any) -> str:
    return blake2b(msgspec.msgpack.encode(parts), digest_size=KEY_BYTES).hexdigest()
