"""OpenAI's API of embeddings, for its clients and for the many programs that use it.

https://platform.openai.com/docs/api-reference/embeddings
"""

import struct
from base64 import b64encode
from typing import Any, Literal

import msgspec
from flask import Blueprint, Response

from common.errors import BadRequest, NotFound, Problem
from common.json_input import decode_json, read_data_url
from common.server.problems import problem_response
from common.server.reply import json_reply
from common.server.request import take_body
from front.query import MAX_TEXTS, MAX_VALUES
from front.wires.backend import Backend, Input
from middle.messages import ModelChoice

MODELS: tuple[ModelChoice, ...] = ("auto", "clip", "mclip")
OVER_RATE, OURS = "rate_limit_error", "server_error"


class EmbeddingsRequest(msgspec.Struct):
    """What is read of a request; other fields, such as `user`, change nothing here."""

    input: str | list[Any]
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


def create(backend: Backend) -> Blueprint:
    """`POST /v1/embeddings` and `GET /v1/models`."""
    wire = Blueprint("openai", __name__)
    wire.register_error_handler(Exception, _error)

    @wire.post("/v1/embeddings")
    def embeddings() -> Response:
        asked = decode_json(take_body(), EmbeddingsRequest, MAX_VALUES)
        if asked.dimensions is not None:
            raise BadRequest("dimensions: the model has one size: leave this out")
        inputs = _inputs([asked.input] if isinstance(asked.input, str) else asked.input)
        vectors = backend.embed(inputs, _model(asked.model, backend)).embeddings
        encoded = vectors if asked.encoding_format == "float" else map(_base64, vectors)
        return json_reply(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": vector}
                    for index, vector in enumerate(encoded)
                ],
                "model": asked.model,
                "usage": {"prompt_tokens": 0, "total_tokens": 0},  # nobody pays, nobody counts
            }
        )

    @wire.get("/v1/models")
    def models() -> Response:
        return json_reply({"object": "list", "data": [_described(name) for name in MODELS]})

    @wire.get("/v1/models/<path:name>")
    def model(name: str) -> Response:
        _model(name, backend)
        return json_reply(_described(name))

    return wire


def _inputs(given: list[Any]) -> list[Input]:
    if not 0 < len(given) <= MAX_TEXTS:
        raise BadRequest(f"input: give 1 to {MAX_TEXTS} texts; got {len(given)}")
    if not all(isinstance(item, str) for item in given):
        raise BadRequest("input: send texts, or images as data URIs; tokens are not read")
    return [read_data_url(item) or item for item in given]


def _model(name: str, backend: Backend) -> ModelChoice:
    """The text model of a name: one of MODELS, or the name of the index's model."""
    for choice in MODELS:
        if choice == name:
            return choice
    if name != (known := backend.info().model):
        names = ", ".join((*MODELS, known))
        raise NotFound(f"model: there is no {name!r}; known are {names}", "model_not_found")
    return "auto"


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "clip-search"}


def _base64(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _error(error: Exception) -> Response:
    """An error in OpenAI's shape, with the status and headers that it has everywhere."""
    response = problem_response(error)
    problem = msgspec.json.decode(response.get_data(), type=Problem)
    kind = OURS if problem.status >= 500 else "invalid_request_error"
    field, colon, _ = problem.detail.partition(": ")
    told = {
        "message": problem.detail,
        "type": OVER_RATE if problem.status == 429 else kind,
        "param": field if colon and field.isidentifier() else None,
        "code": problem.code,
    }
    response.set_data(msgspec.json.encode({"error": told}))
    response.content_type = "application/json"
    return response
