"""Replies in gzip."""

import gzip
from typing import Any

import pytest
from flask import Flask, Response, request

from front.compression import MIN_BYTES, add_compression

LONG = b"[" + b"0.125," * MIN_BYTES + b"0]"
PLAIN = (None, "", "identity", "gzip;q=0", "br", "deflate, gzip;q=0.0")


def client() -> Any:
    """Asks an application that answers what it is sent, in a content type."""
    app = Flask("unit")
    add_compression(app)

    @app.post("/<path:kind>")
    def echo(kind: str) -> Response:
        return Response(request.get_data(), content_type=kind)

    return app.test_client()


def asked(body: bytes, coding: str | None, kind: str = "application/json") -> Any:
    """The reply to a request."""
    headers = {} if coding is None else {"Accept-Encoding": coding}
    return client().post(f"/{kind}", data=body, headers=headers)


@pytest.mark.parametrize("coding", ["gzip", "gzip, deflate, br", "*", "br;q=1, gzip;q=0.1"])
def test_a_long_reply_is_compressed_where_asked(coding: str) -> None:
    """It is the same after decompression, and its length is that of what is sent."""
    reply = asked(LONG, coding)

    assert "gzip" == reply.headers["Content-Encoding"]
    assert len(reply.data) == int(reply.headers["Content-Length"]) < len(LONG) / 10
    assert gzip.decompress(reply.data) == LONG
    assert "Accept-Encoding" in reply.headers["Vary"]


@pytest.mark.parametrize("coding", PLAIN)
def test_where_it_is_not_asked_for_nothing_is_compressed(coding: str | None) -> None:
    """But caches are told that the reply depends on what was asked."""
    reply = asked(LONG, coding)

    assert reply.data == LONG
    assert "Content-Encoding" not in reply.headers
    assert "Accept-Encoding" in reply.headers["Vary"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"[" + b" " * (MIN_BYTES - 3) + b"]", "application/json"), (LONG, "image/jpeg")],
)
def test_short_replies_and_images_stay_as_they_are(body: bytes, kind: str) -> None:
    """There is nothing to gain."""
    reply = asked(body, "gzip", kind)

    assert reply.data == body
    assert "Vary" not in reply.headers
