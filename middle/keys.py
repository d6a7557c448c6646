"""What the entries of the prediction cache are called: equal keys stand for equal answers."""

from hashlib import blake2b
from typing import Any
from unicodedata import normalize

import msgspec

from middle.messages import Query

KEY_BYTES = 16


def normal_text(text: str) -> str:
    """A text as it is embedded, cached or not: composed letters (NFC), single spaces between."""
    return " ".join(normalize("NFC", text).split())


def embedding_key(digest: str, item: str | bytes) -> str:
    """The key for the embedding of a normal text or an image file by the model of a digest."""
    return "embedding:" + _hash(digest, item if isinstance(item, str) else _content(item))


def result_key(query: Query, *about: str | int) -> str:
    """The key for the answer to a query; `about` is all that it depends on beside the query."""
    if query.image is not None:
        query = msgspec.structs.replace(query, image=_content(query.image))
    return "result:" + _hash(query, *about)


def _content(file: bytes) -> bytes:
    return blake2b(file, digest_size=32).digest()


def _hash(*parts: Any) -> str:
    return blake2b(msgspec.msgpack.encode(parts), digest_size=KEY_BYTES).hexdigest()
