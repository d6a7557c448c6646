"""The reply of /v1/embed: JSON, or msgpack with raw numbers."""

import msgspec
import numpy as np
import pytest
from flask import Flask, request

from front.embed_reply import PackedEmbedAnswer, embed_reply
from middle.messages import EmbedAnswer

ANSWER = EmbedAnswer([[0.6, 0.8], [1.0, 0.0]], "tiny", ["input 1: cut"], "id")


@pytest.mark.parametrize("accept", ["application/msgpack", "application/vnd.msgpack"])
def test_msgpack_has_the_rows_as_bytes(accept: str) -> None:
    """Little-endian float32, row by row, with all that the JSON tells."""
    with Flask("front").test_request_context(headers={"Accept": accept}):
        reply = embed_reply(ANSWER, request)
    packed = msgspec.msgpack.decode(reply.get_data(), type=PackedEmbedAnswer)

    assert reply.content_type == accept
    rows = np.frombuffer(packed.embeddings, "<f4").reshape(-1, packed.dim)
    np.testing.assert_allclose(rows, ANSWER.embeddings)
    assert (packed.model, packed.warnings, packed.request_id) == ("tiny", ["input 1: cut"], "id")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/msgpack;q=0"])
def test_others_get_json(accept: str) -> None:
    """Also those who take anything."""
    with Flask("front").test_request_context(headers={"Accept": accept}):
        reply = embed_reply(ANSWER, request)
    assert reply.content_type == "application/json"
    assert msgspec.json.decode(reply.get_data(), type=EmbedAnswer) == ANSWER
