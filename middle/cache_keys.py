"""What the entries of the prediction cache are called: equal keys stand for equal answers."""

from hashlib import blake2b
from typing import Any, NamedTuple
from unicodedata import normalize

import msgspec

from middle.messages import Query

KEY_BYTES = 16


class ImageFile(NamedTuple):
    """An image file, and the digest by which it is known to the cache."""

    data: bytes
    digest: bytes


def image_file(data: bytes) -> ImageFile:
    """An image file with its digest, which takes 1 ms a megabyte."""
    return ImageFile(data, blake2b(data, digest_size=32).digest())


def normal_text(text: str) -> str:
    """A text as it is embedded, cached or not: composed letters (NFC), single spaces between."""
    return " ".join(normalize("NFC", text).split())


def embedding_key(digest: str, item: str | ImageFile) -> str:
    """The key for the embedding of a normal text or an image by the model of a digest."""
    return "embedding:" + _hash(digest, item if isinstance(item, str) else item.digest)


def result_key(query: Query, image: ImageFile | None, *about: str | int) -> str:
    """The key for the answer to a query; `about` is all that it depends on beside the query."""
    if image is not None:
        query = msgspec.structs.replace(query, image=image.digest)
    return "result:" + _hash(query, *about)


def cache_version(epoch: bytes, *about: str | int | float | None) -> str:
    """The name of all that answers depend on beside their queries."""
    return _hash(epoch, *about)


def _hash(*parts: Any) -> str:
    return blake2b(msgspec.msgpack.encode(parts), digest_size=KEY_BYTES).hexdigest()
