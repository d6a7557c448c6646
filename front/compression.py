"""Replies in gzip for clients that ask for it, where `Front.gzip` says so."""

import gzip

from flask import Flask, Response, request

from common.errors import PROBLEM

MIN_BYTES = 1024
"""Below, a reply fits in a packet or two, with or without compression."""
LEVEL = 1
"""On vectors in JSON, level 6 takes three times as long and saves little more."""
KINDS = ("application/json", PROBLEM)


def add_compression(app: Flask) -> None:
    """Compress replies in JSON of MIN_BYTES or more that are asked for in gzip (RFC 9110, 12.5)."""

    @app.after_request
    def compress(response: Response) -> Response:
        length = response.content_length or 0
        if response.mimetype not in KINDS or length < MIN_BYTES or response.is_streamed:
            return response
        response.vary.add("Accept-Encoding")
        if request.accept_encodings.quality("gzip") > 0 and not response.content_encoding:
            response.set_data(gzip.compress(response.get_data(), LEVEL, mtime=0))
            response.content_encoding = "gzip"
        return response
