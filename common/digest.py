"""The digest of a body between our services, which reveals a flipped bit.

A changed float is still a valid float, so no other check would find it. Source: RFC 9530.
"""

import base64
from hashlib import sha256
from typing import NamedTuple

DIGEST = "Content-Digest"
WANTED = "Want-Content-Digest"
"""A request with this header asks for a reply with a digest."""


class DigestedBody(NamedTuple):
    """A body and its digest, computed once for all receivers."""

    body: bytes
    digest: str


def content_digest(body: bytes) -> str:
    """The value of the header Content-Digest."""
    return f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"


def with_digest(body: bytes) -> DigestedBody:
    """Compute the digest of a body."""
    return DigestedBody(body, content_digest(body))
