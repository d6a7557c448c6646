"""The digest that goes with a body between our services, so that a flipped bit is noticed.

A float with another digit is still a float: nothing else would tell. Source: RFC 9530.
"""

import base64
from hashlib import sha256
from typing import NamedTuple

from flask import Flask, Response, request

from common.errors import Garbled

DIGEST = "Content-Digest"
WANTED = "Want-Content-Digest"
"""With it a reply is asked for one."""


class Sealed(NamedTuple):
    """A body that is sent to several, and its digest."""

    body: bytes
    digest: str


def content_digest(body: bytes) -> str:
    """The value of the header Content-Digest."""
    return f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"


def seal(body: bytes) -> Sealed:
    """A body with its digest."""
    return Sealed(body, content_digest(body))


def check_digests(app: Flask) -> None:
    """Have a service refuse bodies that are not what their digest says, and seal its replies."""

    @app.before_request
    def check() -> None:
        given = request.headers.get(DIGEST)
        if given is not None and given != content_digest(request.get_data()):
            raise Garbled("what was asked was changed on the way")

    @app.after_request
    def add(response: Response) -> Response:
        if WANTED in request.headers and not response.is_streamed:
            response.headers[DIGEST] = content_digest(response.get_data())
        return response
