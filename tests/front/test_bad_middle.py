"""Middle refuses what front does: load tests and scripts aim at it, and it trusts them no more."""

import json
from typing import Any

import pytest

from devtools.services import Cluster
from devtools.tiny_model import DIM
from tests.front import test_bad_http, test_bad_input
from tests.front.conftest import MAX_BODY_BYTES
from tests.front.front_client import Reply, assert_problem, raw

ROOM = 2**16
"""For the words around a body that front lets in."""


def ask(cluster: Cluster, body: bytes, path: str = "/search") -> Reply:
    """The reply of middle to a body."""
    headers = {"Content-Type": "application/json"}
    return cluster.middle.request("POST", path, body=body, headers=headers)


BODIES: dict[str, bytes] = {
    **{f"k {k[:9]}": b'{"text": "red", "k": %s}' % k.encode() for k in test_bad_input.K},
    **{str(one): json.dumps(one).encode() for one in test_bad_input.SOURCES},
    **{
        f"embedding: {name}": f'{{"embedding": {one}}}'.encode()
        for name, one in test_bad_input.EMBEDDINGS.items()
    },
    "empty text": b'{"text": ""}',
    "invisible text": b'{"text": "\\u200b"}',
    "long text": json.dumps({"text": "a" * 2001}).encode(),
    "malformed id": b'{"id": "x"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_bad_query_is_refused(cluster: Cluster, body: bytes) -> None:
    """400, and the next good query is answered."""
    assert_problem(ask(cluster, body), 400, "bad_request")
    assert 200 == ask(cluster, b'{"text": "red"}').status


@pytest.mark.parametrize("inputs", test_bad_input.INPUTS, ids=str)
def test_bad_inputs_are_not_embedded(cluster: Cluster, inputs: dict[str, Any]) -> None:
    """400, as front has it."""
    assert_problem(ask(cluster, json.dumps(inputs).encode(), "/embed"), 400, "bad_request")


def test_other_refusals_are_those_of_front(cluster: Cluster) -> None:
    """By status and code: wrong length, unknown id, content type, size, method, route."""
    long = json.dumps({"embedding": [1.0] * (DIM + 1)}).encode()
    assert_problem(ask(cluster, long), 400, "wrong_length")
    assert_problem(ask(cluster, b'{"id": "%s"}' % (b"0" * 32)), 404, "unknown_id")
    plain = cluster.middle.request("POST", "/search", body=b"red")
    assert_problem(plain, 415, "unsupported_media_type")
    huge = ask(cluster, b'{"text": "red"}'.ljust(MAX_BODY_BYTES + ROOM + 1))
    assert (413, "application/problem+json") == (huge.status, huge.headers["Content-Type"])
    for method, path, status in (("PUT", "/search", 405), ("GET", "/nothing", 404)):
        assert status == cluster.middle.request(method, path).status


HEADS = test_bad_http.HEADS


@pytest.mark.parametrize(("status", "head"), HEADS.values(), ids=HEADS)
def test_a_head_that_is_no_http_is_refused(cluster: Cluster, status: int, head: str) -> None:
    """The same heads with the same statuses, and the connection is closed."""
    assert status == raw(cluster, f"{head}\r\nhello".encode(), "middle")[0]
