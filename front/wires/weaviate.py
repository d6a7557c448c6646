"""The API of Weaviate's inference container, for its module multi2vec-clip.

https://github.com/weaviate/multi2vec-clip-inference
"""

import msgspec
from flask import Blueprint, Response

from common.json_input import decode_json
from common.server.reply import json_reply
from common.server.request import take_body
from front.wires.backend import Backend


class VectorizeRequest(msgspec.Struct):
    """Texts, and image files in base64."""

    texts: list[str] = []
    images: list[bytes] = []


def create(backend: Backend) -> Blueprint:
    """`POST /vectorize`, `GET /meta`, and the two that say that the server is there."""
    wire = Blueprint("weaviate", __name__)

    @wire.post("/vectorize")
    @wire.post("/vectorize/")
    def vectorize() -> Response:
        asked = decode_json(take_body(), VectorizeRequest)
        vectors = backend.embed([*asked.texts, *asked.images]).embeddings
        many = len(asked.texts)
        reply = {"textVectors": vectors[:many], "imageVectors": vectors[many:], "error": ""}
        return json_reply(reply)

    @wire.get("/meta")
    def meta() -> Response:
        return json_reply(backend.info())

    @wire.get("/.well-known/ready")
    def ready() -> Response:
        backend.info()
        return Response(status=204)

    @wire.get("/.well-known/live")
    def live() -> Response:
        return Response(status=204)

    return wire
