"""The digest of a body between our services, which reveals a flipped bit.

A changed float is still a valid float, so no other check would find it. Source: RFC 9530.
"""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import NamedTuple

DIGEST = "Content-Digest"
WANTED = "Want-Content-Digest"
"""A request with this header asks for a reply with a digest."""
LARGE_BYTES = 2**20
"""A larger body is hashed in another thread, since hashing blocks the loop for 1 ms a MB."""
_threads = ThreadPoolExecutor(thread_name_prefix="digests")
"""Not the loop's default threads: look-ups of names may hold all of these for seconds."""


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


async def digested(body: bytes) -> DigestedBody:
    """The same on an event loop, which a large body does not hold up."""
    if len(body) <= LARGE_BYTES:
        return with_digest(body)
    return await asyncio.get_running_loop().run_in_executor(_threads, with_digest, body)
