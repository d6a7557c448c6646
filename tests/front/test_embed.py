"""Embedding many texts, and what the reply can be."""

import gzip
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devtools.services import Cluster, running, with_section
from tests.front.front_client import Reply, assert_problem, embed


def test_2048_texts_are_embedded_in_order(cluster: Cluster) -> None:
    """More than middle takes at once; commas in texts do not count as values."""
    texts = [f"{number % 97}, red" + ", " * 20 * (number % 2) for number in range(2048)]
    answer = embed(cluster, texts=texts)

    few = embed(cluster, texts=texts[:97])["embeddings"]
    assert 2048 == len(answer["embeddings"])
    for place in (0, 63, 64, 1000, 2047):
        alone = embed(cluster, texts=[texts[place]])["embeddings"][0]
        np.testing.assert_allclose(answer["embeddings"][place], alone, atol=1e-5)
    assert len({tuple(row) for row in few}) > 1
    late = {"X-Deadline-Ms": "1", "Content-Type": "application/json"}
    body = json.dumps({"texts": texts}).encode()
    response = cluster.front.request("POST", "/v1/embed", body=body, headers=late)
    assert_problem(response, 503, "deadline_exceeded")


@pytest.mark.parametrize("kind", ["application/msgpack", "application/vnd.msgpack"])
def test_embeddings_in_msgpack_are_those_in_json(cluster: Cluster, kind: str) -> None:
    """Raw float32 for whoever asks for msgpack; JSON for whoever does not, or likes it more."""
    texts = ["red", "green " * 50]

    def embedded(accept: str) -> Reply:
        headers = {"Accept": accept, "Content-Type": "application/json"}
        body = json.dumps({"texts": texts}).encode()
        return cluster.front.request("POST", "/v1/embed", body=body, headers=headers)

    told, packed = embed(cluster, texts=texts), embedded(kind)
    answer = msgspec.msgpack.decode(packed.data)
    rows = np.frombuffer(answer["embeddings"], "<f4").reshape(-1, answer["dim"])

    np.testing.assert_array_equal(np.array(told["embeddings"], np.float32), rows)
    assert told["warnings"] == answer["warnings"] != []
    assert (kind, told["model"]) == (packed.headers["Content-Type"], answer["model"])
    assert packed.headers["X-Request-Id"] == answer["request_id"]
    for other in ("*/*", "text/html", f"{kind};q=0", f"application/json, {kind};q=0.5"):
        assert "application/json" == embedded(other).headers["Content-Type"]
    refused = cluster.front.request("POST", "/v1/embed", headers={"Accept": kind})
    assert "application/problem+json" == refused.headers["Content-Type"]


def test_answers_are_compressed_where_front_may_and_the_client_asks(
    cluster: Cluster, root: Path
) -> None:
    """The same answer, in fewer bytes; without `Front.gzip` nobody gets it."""
    body, headers = json.dumps({"texts": ["red"] * 64}).encode(), {"Accept-Encoding": "gzip"}
    headers["Content-Type"] = "application/json"
    config = with_section(cluster.config, "Front", port=0, gzip=True)
    with running("front/front.py", config, cwd=root) as front:
        reply = front.request("POST", "/v1/embed", body=body, headers=headers, decode_content=False)
    told = embed(cluster, texts=["red"] * 64)["embeddings"]
    plain = cluster.front.request("POST", "/v1/embed", body=body, headers=headers)

    assert "gzip" == reply.headers["Content-Encoding"]
    assert len(reply.data) < len(plain.data) / 2
    np.testing.assert_allclose(json.loads(gzip.decompress(reply.data))["embeddings"], told, 1e-4)
    assert "Content-Encoding" not in plain.headers
