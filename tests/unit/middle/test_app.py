"""Middle's application with nobody behind it: what it refuses, and how it says that it cannot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from common.cache_epoch import CacheEpoch
from common.config import Config, Inference, Search
from common.errors import DeadlineExceeded
from middle.app import create_app

NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    """Asks the application; its parts are closed at the end."""
    config = Config(inference=Inference(server_list=(NOBODY,)), search=Search((NOBODY,)))
    app = create_app(config, Path(), CacheEpoch())
    yield app.test_client()
    app.extensions["closing"].close()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/search", {}),
        ("/search", {"text": " "}),
        ("/search", {"text": "red", "id": "0" * 32}),
        ("/search", {"text": "red", "k": 0}),
        ("/search", {"embedding": [0.0]}),
        ("/search", {"text": "red", "colour": "red"}),
        ("/embed", {}),
        ("/embed", {"texts": ["a"], "images": ["YQ=="]}),
        ("/classify", {"images": []}),
        ("/classify", {"images": ["YQ=="], "labels": ["a", "a"]}),
        ("/classify", {"images": ["YQ=="], "template": "no place"}),
        ("/segment", {}),
        ("/segment", {"image": "YQ=="}),
        ("/segment", {"points": [[0, 0, 1]]}),
        ("/segment", {"image": "", "box": [0, 0, 1, 1]}),
        ("/segment", {"image": "YQ==", "box": [0, 0, 1, 2]}),
    ],
)
def test_a_wrong_query_is_refused_before_anyone_is_asked(
    client: FlaskClient, path: str, message: dict[str, Any]
) -> None:
    """With a problem that says how it is wrong."""
    reply = client.post(path, json=message)

    assert reply.status_code == 400
    assert reply.get_json()["detail"]


def test_only_messages_are_read(client: FlaskClient) -> None:
    """In JSON or in msgpack."""
    assert client.post("/search", data="text=red").status_code == 415
    assert client.post("/search", data=b"{", content_type="application/json").status_code == 400
    reply = client.post("/search", data=b"\xc1", content_type="application/msgpack")
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/search", {"text": "red"}),
        ("/search", {"embedding": [1.0]}),
        ("/embed", {"texts": ["red"]}),
        ("/classify", {"images": ["YQ=="]}),
        ("/segment", {"image": "YQ==", "box": [0, 0, 1, 1]}),
    ],
)
def test_with_nobody_behind_a_query_is_unavailable(
    client: FlaskClient, path: str, message: dict[str, Any]
) -> None:
    """At once, and not at the deadline."""
    reply = client.post(path, json=message)

    assert reply.status_code == 503
    assert "Retry-After" in reply.headers


def test_middle_is_not_ready_but_alive(client: FlaskClient) -> None:
    """It says why; an image and what there is cannot be told."""
    assert client.get("/healthz").status_code == 200
    assert client.get("/ready").get_json()["detail"] == "the inference server does not answer"
    assert client.get("/info").status_code == 503
    assert client.get(f"/images/{'0' * 32}").status_code == 503
    assert client.get("/images/one").status_code == 400


def test_the_cache_can_be_emptied_at_any_time(client: FlaskClient) -> None:
    """There is nothing to say of it."""
    assert client.delete("/cache").status_code == 204


@pytest.mark.parametrize(("headers", "most_s"), [({}, 2), ({"X-Deadline-Ms": "500"}, 10)])
def test_embedding_may_take_longer_for_those_who_say_so(
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    most_s: float,
) -> None:
    """Up to Middle.embed-deadline-ms; without the header a request has the usual time."""
    given: list[float] = []

    def deadline(_request: object, most_s: float) -> float:
        given.append(most_s)
        raise DeadlineExceeded("far enough")

    monkeypatch.setattr("common.server.request.deadline_of", deadline)
    client.post("/embed", json={"texts": ["a"]}, headers=headers)

    assert given == [most_s]
