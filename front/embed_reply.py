"""The reply of /v1/embed: JSON, or msgpack with raw float32 where the client asks for it."""

import msgspec
import numpy as np
from flask import Request, Response

from common.server.reply import JSON, json_reply
from common.wire import MSGPACK, encode, pack_rows
from middle.messages import EmbedAnswer

KINDS = (JSON, MSGPACK, "application/vnd.msgpack")
"""Content types of the reply; the last is the registered name of msgpack."""


class PackedEmbedAnswer(msgspec.Struct):
    """An `EmbedAnswer` in msgpack."""

    embeddings: bytes
    """float32, little-endian, row by row."""
    dim: int
    """Numbers in a row."""
    model: str
    warnings: list[str]
    request_id: str


def embed_reply(answer: EmbedAnswer, request: Request) -> Response:
    """The reply to a request, in what its header Accept prefers."""
    kind = JSON
    if "msgpack" in request.headers.get("Accept", ""):
        kind = request.accept_mimetypes.best_match(KINDS, JSON)
    if kind == JSON:
        return json_reply(answer)
    rows = np.array(answer.embeddings, np.float32)
    packed = PackedEmbedAnswer(
        pack_rows(rows), rows.shape[1], answer.model, answer.warnings, answer.request_id
    )
    return Response(encode(packed), content_type=kind)
