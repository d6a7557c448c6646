"""The embedded inference server, over TorchServe's inference API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from common.wire import unpack_rows
from devtools.services import CHECKOUT, Service, running
from devtools.tiny_model import write_tiny_model
from inference.clip.model import Model, load_model
from inference.messages import EmbedReply, EmbedRequest

PHOTOS = sorted((CHECKOUT / "samples").glob("*.jpg"))
TEXTS = [  # of lengths that share buckets, not in their order
    "a red square of the",
    "red blue green square",
    "a",
    "the green photo of a blue square",
    "red",
    "a photo of blue",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    """The same model in this process."""
    return load_model("tiny", root=folder)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Service]:
    """The server of the tiny model as clip; there is no mclip."""
    config = {"Inference": {"port": 0, "clip": "tiny", "mclip": None}}
    with running("inference/inference.py", config, cwd=folder) as service:
        yield service


def ask(server: Service, **inputs: Any) -> EmbedReply:
    body = msgspec.msgpack.encode(EmbedRequest(**inputs))
    response = server.request("POST", "/predictions/clip", body=body)
    assert response.status == 200, response.data
    return msgspec.msgpack.decode(response.data, type=EmbedReply)


def test_ping_answers_as_torchserve_does(server: Service) -> None:
    """GET /ping says Healthy."""
    assert server.get("/ping") == {"status": "Healthy"}


def test_a_batch_of_texts_is_embedded_as_each_alone(server: Service, model: Model) -> None:
    """Batched, bucketed and trimmed gives what single gives: unit vectors of the model."""
    reply = ask(server, texts=TEXTS)
    rows = unpack_rows(reply.rows, reply.dim)

    alone = np.concatenate([model.encode_text([text]) for text in TEXTS])
    np.testing.assert_allclose(rows, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert model.space == reply.space


def test_images_are_decoded_and_embedded_there(server: Service, model: Model) -> None:
    """More photos than a batch holds give each its own row, in order."""
    files = [path.read_bytes() for path in PHOTOS]
    rows = unpack_rows(ask(server, images=files).rows, model.dim)

    np.testing.assert_allclose(rows, model.encode_images(files), atol=1e-5)


def test_one_bad_image_fails_alone(server: Service, model: Model) -> None:
    """The others of the request are embedded; the bad ones say what is wrong."""
    good = PHOTOS[0].read_bytes()
    reply = ask(server, images=[good, b"no image", good[: len(good) // 2], good])
    rows = unpack_rows(reply.rows, reply.dim)

    assert {slot: p.status for slot, p in reply.problems.items()} == {1: 415, 2: 422}
    expected = model.encode_images([good])[0]
    np.testing.assert_allclose(rows[[0, 3]], np.stack([expected] * 2), atol=1e-6)


def test_one_poison_text_fails_alone(server: Service, model: Model) -> None:
    """A text that makes the model itself fail does not take its batch along."""
    reply = ask(server, texts=["a red square", "a poison", "blue"])
    rows = unpack_rows(reply.rows, reply.dim)

    assert {1: 500} == {slot: problem.status for slot, problem in reply.problems.items()}
    np.testing.assert_allclose(rows[[0, 2]], model.encode_text(["a red square", "blue"]), atol=1e-6)


def test_a_text_without_an_embedding_fails_alone(server: Service) -> None:
    """A text of no known token has a zero vector here: no embedding, and no NaN either."""
    reply = ask(server, texts=["a red square", ""])

    assert {slot: p.code for slot, p in reply.problems.items()} == {1: "no_embedding"}


def test_a_long_text_is_cut_with_a_warning(server: Service) -> None:
    """The warning belongs to the text that was cut."""
    reply = ask(server, texts=["a", "red " * 50])

    assert list(reply.warnings) == [1]
    assert "8 tokens" in reply.warnings[1]


def test_expired_work_is_not_done(server: Service) -> None:
    """With no time left every input is answered as late."""
    reply = ask(server, texts=TEXTS, deadline_ms=0)

    assert {"deadline_exceeded"} == {problem.code for problem in reply.problems.values()}


def test_a_model_that_is_not_there_is_named(server: Service) -> None:
    """mclip is off and other names are unknown: 404 with the way out."""
    body = msgspec.msgpack.encode(EmbedRequest(texts=["a"]))
    mclip = server.request("POST", "/predictions/mclip", body=body)
    other = server.request("POST", "/predictions/other", body=body)

    assert (mclip.status, mclip.json()["code"]) == (404, "model_unavailable")
    assert "Inference.mclip" in mclip.json()["detail"]
    assert other.status == 404


@pytest.mark.parametrize(
    "message", [{}, {"texts": ["a"], "images": [b"x"]}, {"texts": [1]}, {"nope": 1}]
)
def test_a_wrong_message_is_refused(server: Service, message: object) -> None:
    """Neither or both kinds of input, wrong types, unknown fields: 400."""
    response = server.request("POST", "/predictions/clip", body=msgspec.msgpack.encode(message))

    assert response.status == 400
