"""The messages of `POST /predictions/{model}`, msgpack, the same for both engines."""

import msgspec

from common.errors import Problem

IMAGE_BATCH = 8
"""Images that a client sends together: 8 full-size uploads are as much as a body may hold."""


class EmbedRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Texts or encoded image files to embed, one kind at a time."""

    texts: list[str] = []
    images: list[bytes] = []
    deadline_ms: float = 10_000


class EmbedReply(msgspec.Struct, omit_defaults=True):
    """One row for each input, in order; the row of an input that failed is zero."""

    model: str
    space: str
    """Digest of the image tower: vectors of different spaces cannot be compared."""
    dim: int
    rows: bytes
    """float32, little-endian, [inputs, dim], unit length."""
    problems: dict[int, Problem] = {}
    warnings: dict[int, str] = {}
