"""Replies in JSON."""

import msgspec
from flask import Response

JSON = "application/json"


def json_reply(message: object) -> Response:
    """A message as the body of a reply."""
    return Response(msgspec.json.encode(message), content_type=JSON)
