"""The APIs of other projects over a middle that embeds a text as its length."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from common.config import Front
from common.errors import BadRequest, Overloaded, Unprocessable
from common.server.admission import UNDERWAY, Underway
from common.server.problems import handle_errors
from devtools.fake_clock import FakeClock, run
from front.query import MAX_TEXTS
from front.wires import add_wires, immich
from front.wires.backend import Backend
from front.wires.openai import MODELS
from front.wires.weaviate import VectorizeRequest
from middle.messages import EmbedQuery
from tests.unit.fake_http import FakeHttp, saying


class Middle:
    """Answers at once, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[EmbedQuery] = []
        self.bypasses: list[bool] = []

    def embed(self, query: EmbedQuery, _deadline: float, *, bypass: bool) -> Any:
        self.asked.append(query)
        self.bypasses.append(bypass)
        if "fail" in query.texts:
            raise Unprocessable(f"input {query.texts.index('fail')}: no")
        answer = {
            "embeddings": [[float(len(item)), 0.5] for item in (*query.texts, *query.images)],
            "model": "tiny",
            "warnings": [f"input {i}: cut" for i, item in enumerate(query.texts) if item == "long"],
        }
        return SimpleNamespace(body=json.dumps(answer).encode())

    def info(self) -> bytes:
        told = {"images": 1, "index_version": "v", "model": "tiny", "dim": 2, "shards": 1}
        told |= {"position": 0}
        return json.dumps(told).encode()


@pytest.fixture
def middle() -> Middle:
    """What front asks."""
    return Middle()


@pytest.fixture
def backend(middle: Middle) -> Backend:
    """On a loop that has run already."""
    loop = SimpleNamespace(run=lambda result: result)
    given: Any = (
        middle,
        loop,
        lambda: 0.0,
        lambda: 0.0,
        lambda query: query,
        lambda _image_id: b"",
    )
    return Backend(*given)


@pytest.fixture
def client(backend: Backend) -> FlaskClient:
    """Asks front."""
    app = Flask("front")
    handle_errors(app)
    add_wires(app, Front(wires=("openai", "immich", "weaviate")), backend)
    return app.test_client()


def test_many_inputs_are_several_queries(backend: Backend, middle: Middle) -> None:
    """Texts and images apart, at most 64 each; the vectors come in the order of the inputs."""
    inputs = [b"12" if place % 10 == 3 else "x" * (1 + place) for place in range(150)]
    vectors = backend.embed(inputs).embeddings

    assert [vector[0] for vector in vectors] == [len(item) for item in inputs]
    assert [len(query.texts) or len(query.images) for query in middle.asked] == [64, 64, 7, 15]


def test_a_part_tells_of_an_input_by_its_place_in_the_whole(
    backend: Backend, middle: Middle
) -> None:
    """In warnings and in errors, also where images are between the texts."""
    inputs: list[str | bytes] = [b"image", *["a"] * 100, "long"]
    assert ["input 101: cut"] == backend.embed(inputs).warnings
    assert not any(middle.bypasses)
    with pytest.raises(Unprocessable) as error:
        backend.embed([*inputs, "fail"], bypass=True)
    assert "input 102: no" == error.value.detail
    assert middle.bypasses[-1]


def test_an_input_without_words_is_refused_before_middle(backend: Backend, middle: Middle) -> None:
    """As on our own route."""
    with pytest.raises(BadRequest):
        backend.embed(["a", " "])
    assert not middle.asked


def test_openai_takes_as_many_as_openai(client: FlaskClient, middle: Middle) -> None:
    """And refuses more, in its own shape, before middle is asked."""
    most = {"model": "auto", "input": ["a"] * MAX_TEXTS}
    assert len(client.post("/v1/embeddings", json=most).get_json()["data"]) == MAX_TEXTS
    middle.asked.clear()
    more = {"model": "auto", "input": ["a"] * (MAX_TEXTS + 1)}
    refused = client.post("/v1/embeddings", json=more)
    assert (refused.status_code, refused.get_json()["error"]["param"]) == (400, "input")
    assert not middle.asked


def test_openai_s_client_chooses_among_the_text_models(client: FlaskClient) -> None:
    """Or names the model of the index, which is none of them."""
    assert [model["id"] for model in client.get("/v1/models").get_json()["data"]] == list(MODELS)
    for name in (*MODELS, "tiny"):
        assert client.get(f"/v1/models/{name}").get_json()["id"] == name
    assert client.get("/v1/models/other").status_code == 404


def test_weaviate_s_request_has_texts_images_or_both(client: FlaskClient) -> None:
    """What is missing is empty."""
    assert VectorizeRequest().texts == []
    reply = client.post("/vectorize", json={"texts": ["abc"]}).get_json()
    assert reply["textVectors"] == [[3.0, 0.5]]
    assert reply["imageVectors"] == []


def test_without_another_immich_only_clip_is_answered(client: FlaskClient) -> None:
    """The answer says what to set."""
    faces = json.dumps({"facial-recognition": {}})
    refused = client.post("/predict", data={"entries": faces})
    assert refused.status_code == 501


def test_another_immich_does_not_take_all_threads(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches need them as well: one request too many is refused at once."""
    monkeypatch.setattr(immich, "MAX_ASKED", 0)
    others = immich.Others("immich:3003", backend)

    with pytest.raises(Overloaded, match="Immich"):
        others.answer()


@pytest.mark.parametrize(("after_s", "status"), [(119.0, 200), (121.0, 503)])
def test_another_immich_has_time_to_load_its_models(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, after_s: float, status: int
) -> None:
    """Its first answer takes longer than a search may; one that never comes is not waited for."""
    now = time.monotonic()
    fake = FakeHttp({"immich:3003": saying(b"{}", after_s=after_s)})
    monkeypatch.setattr("front.wires.immich.HttpClient", lambda: fake.client)
    loop: Any = SimpleNamespace(run=lambda coroutine: run(coroutine, FakeClock(now)))
    app = Flask("front")
    handle_errors(app)
    app.before_request(lambda: setattr(g, "since", now))
    there = backend._replace(loop=loop)
    app.register_blueprint(immich.create(there, immich.Others("immich:3003", there)))

    faces = {"entries": json.dumps({"facial-recognition": {}})}
    underway = {UNDERWAY: Underway(1, now, "id")}
    reply = app.test_client().post("/predict", data=faces, environ_overrides=underway)

    assert reply.status_code == status
    assert [sent.request.path for sent in fake.sent] == ["/predict"]
