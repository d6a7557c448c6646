"""The search server by itself, over its own wire."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from common.wire import Matrix, pack_rows
from devtools.collection import Collection
from devtools.services import Service, running, with_section
from devtools.tiny_model import DIM
from inference.clip.encoders import unit_rows
from search.messages import SearchReply, SearchRequest


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """50 images in one shard."""
    return Collection(tmp_path_factory.mktemp("collection"), images=50, shards=1)


@pytest.fixture(scope="module")
def server(collection: Collection) -> Iterator[Service]:
    """A search server that holds them."""
    config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"])
    with running("search/search.py", config, cwd=collection.folder) as service:
        yield service


def unit(count: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return unit_rows(rows)


def ask(server: Service, vectors: Matrix, ks: list[int]) -> SearchReply:
    request = SearchRequest(vectors.shape[1], pack_rows(vectors), ks)
    response = server.request("POST", "/search", body=msgspec.msgpack.encode(request))
    assert response.status == 200, response.data
    return msgspec.msgpack.decode(response.data, type=SearchReply)


def test_a_batch_is_answered_as_its_queries_alone(server: Service) -> None:
    """Queries with different k in one batch get what each gets by itself."""
    vectors, ks = unit(7), [1, 10, 50, 3, 200, 64, 65]
    (batch,) = ask(server, vectors, ks).shards

    for vector, k, hits in zip(vectors, ks, batch.hits, strict=True):
        (alone,) = ask(server, vector[None], [k]).shards
        assert min(k, 50) == len(hits.records)
        assert alone.hits[0].keys == hits.keys
        np.testing.assert_allclose(
            np.frombuffer(alone.hits[0].scores, "<f4"), np.frombuffer(hits.scores, "<f4"), atol=1e-6
        )


def test_scores_are_cosines_best_first(server: Service, collection: Collection) -> None:
    """The scores equal the inner products with the collection's own vectors."""
    query = unit(1, seed=3)
    (shard,) = ask(server, query, [50]).shards

    expected = np.sort(collection.vectors() @ query[0])[::-1]
    np.testing.assert_allclose(np.frombuffer(shard.hits[0].scores, "<f4"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "ks", "code"),
    [
        (unit(1)[:, :-1], [1], "wrong_length"),
        (2 * unit(1), [1], "bad_request"),
        (0 * unit(1), [1], "bad_request"),
        (np.nan * unit(1), [1], "bad_request"),
        (np.inf * unit(1), [1], "bad_request"),
        (unit(2), [1], "bad_request"),
        (unit(1), [0], "bad_request"),
        (unit(1), [10_001], "bad_request"),
    ],
)
def test_what_hnswlib_would_take_is_refused(
    server: Service, vectors: Matrix, ks: list[int], code: str
) -> None:
    """Wrong dimension, not a unit vector, not finite, a wrong number of ks: 400."""
    request = SearchRequest(vectors.shape[1], pack_rows(vectors), ks)
    response = server.request("POST", "/search", body=msgspec.msgpack.encode(request))

    assert (400, code) == (response.status, response.json()["code"])


@pytest.mark.parametrize("body", [b"", b"{}", b"\xc1", b"\x80"])
def test_garbage_is_refused(server: Service, body: bytes) -> None:
    """What is not a message is answered 400, and the server lives."""
    assert server.request("POST", "/search", body=body).status == 400
    assert len(ask(server, unit(1), [1]).shards[0].hits[0].records) == 1


def test_an_unknown_version_is_not_found(server: Service) -> None:
    """A version that is not loaded cannot be asked."""
    request = SearchRequest(DIM, pack_rows(unit(1)), [1], version_digest="0" * 64)
    response = server.request("POST", "/search", body=msgspec.msgpack.encode(request))

    assert (response.status, response.json()["code"]) == (404, "no_such_version")
