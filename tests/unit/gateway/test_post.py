"""Requests in JSON, as jina 3.23 sends them and as a person writes them."""

import json
from typing import Any

import numpy as np
import pytest

from common.errors import BadRequest
from gateway.documents import set_embedding
from gateway.post import MAX_DEPTH, read_post, write_reply


def read(**body: Any) -> Any:
    return read_post(json.dumps(body).encode())


def test_a_request_of_the_client_is_read() -> None:
    """With all fields, nulls too."""
    document = {
        "id": "x", "blob": "YWJj", "tensor": None, "text": None, "weight": None, "chunks": None,
        "matches": [{"id": "y", "text": "a"}], "tags": {"a": 1}, "scores": {"s": {"value": 1.0}},
        "modality": None, "unknown": 1,
    }  # fmt: skip
    header = {"request_id": "r", "exec_endpoint": "/rank", "target_executor": None}
    request = read(header=header, parameters={"limit": 3}, data=[document], target_executor="")

    (found,) = request.data.docs.docs
    assert (request.header.request_id, request.header.exec_endpoint) == ("r", "/rank")
    assert request.parameters["limit"] == 3
    assert (found.blob, found.tags["a"], found.scores["s"].value) == (b"abc", 1, 1.0)
    assert found.matches[0].text == "a"


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"text": "a"}], "exec_endpoint": "/encode"},
        {"data": [{"text": "a"}], "execEndpoint": "/encode"},
        {"data": {"docs": [{"text": "a"}]}, "header": {"exec_endpoint": "/encode"}},
    ],
)
def test_a_request_of_a_person_is_read(body: dict[str, Any]) -> None:
    """In each form of CLIP-as-service's pages."""
    request = read(**body)

    assert request.header.exec_endpoint == "/encode"
    assert request.data.docs.docs[0].text == "a"


def test_pixels_are_nested_lists() -> None:
    """From 0 to 255."""
    (document,) = read(data=[{"tensor": [[[1, 2, 3], [4, 5, 600]]]}]).data.docs.docs

    assert document.tensor.dense.buffer == bytes([1, 2, 3, 4, 5, 255])
    assert list(document.tensor.dense.shape) == [1, 2, 3]


def deep(levels: int) -> dict[str, Any]:
    return {"matches": [deep(levels - 1)]} if levels else {"text": "a"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"data": 1}',
        b'{"data": [1]}',
        b'{"data": [{"text": 1}]}',
        b'{"data": [{"blob": "!"}]}',
        b'{"data": [{"matches": 1}]}',
        b'{"data": [{"matches": [1]}]}',
        b'{"data": [{"tensor": [[1], [1, 2]]}]}',
        b'{"data": [{"tensor": ["a"]}]}',
        b'{"parameters": 1}',
        b'{"data": [{"tags": {"a": 1' + b"0" * 400 + b"}}]}",
        b'{"parameters": {"limit": 1' + b"0" * 400 + b"}}",
        b'{"parameters": {"limit": 1e400}}',
        b'{"parameters": {"limit": NaN}}',
        b"[" * 100_000,
        b'{"data": [{"tags": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"}]}",
        json.dumps({"data": [deep(MAX_DEPTH)]}).encode(),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    """With an error of ours, however deep or wrong it is."""
    with pytest.raises(BadRequest):
        read_post(body)


def test_a_reply_has_the_fields_that_the_client_knows() -> None:
    """And no other, or it fails; an embedding is a plain list."""
    request = read(data=[{"id": "x", "text": "a", "tags": {"n": 1.5}}])
    set_embedding(request.data.docs.docs[0], np.array([0.5, 1], np.float32))
    reply = json.loads(write_reply(request))

    assert reply.keys() == {"header", "parameters", "routes", "data"}
    assert reply["data"] == [{"id": "x", "text": "a", "tags": {"n": 1.5}, "embedding": [0.5, 1.0]}]
