"""The digest that goes with a body between our services, so that a flipped bit is noticed.

A float with another digit is still a float: nothing else would tell. Source: RFC 9530.
"""

import base64
from hashlib import sha256
from typing import NamedTuple

DIGEST = "Content-Digest"
WANTED = "Want-Content-Digest"
"""With it a reply is asked for one."""


class DigestedBody(NamedTuple):
    """A body that is sent to several, and its digest."""

    body: bytes
    digest: str


def content_digest(body: bytes) -> str:
    """The value of the header Content-Digest."""
    return f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"


def with_digest(body: bytes) -> DigestedBody:
    """A body with its digest."""
    return DigestedBody(body, content_digest(body))
