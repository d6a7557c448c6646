"""The classifier beside an image tower's embedding."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from common.errors import ConfigError
from common.wire import unpack_rows
from devtools.services import CHECKOUT, Service, running
from devtools.tiny_model import write_tiny_model
from inference.clip.model import Model, load_model
from inference.clip.model_files import MODELS
from inference.messages import EmbedReply, EmbedRequest, Logits

PHOTOS = [path.read_bytes() for path in sorted((CHECKOUT / "samples").glob("*.jpg"))[:9]]


@pytest.fixture(scope="module")
def starter() -> Model:
    """The starter in this process."""
    return load_model("starter")


@pytest.fixture(scope="module")
def server() -> Iterator[Service]:
    """The server of the starter."""
    config = {"Inference": {"port": 0, "mclip": None}}
    with running("inference/inference.py", config) as service:
        yield service


def ask(server: Service, images: list[bytes], **fields: Any) -> EmbedReply:
    body = msgspec.msgpack.encode(EmbedRequest(images=images, **fields))
    response = server.request("POST", "/predictions/clip", body=body)
    assert response.status == 200, response.data
    return msgspec.msgpack.decode(response.data, type=EmbedReply)


def test_classes_of_one_name_are_one(starter: Model) -> None:
    """The probabilities of the columns that share a name are summed; none is lost."""
    assert starter.classifier
    assert starter.image
    names = json.loads((MODELS / "starter/visual/labels.json").read_bytes())
    pixels = [starter.preprocess(photo, 10**8) for photo in PHOTOS]
    columns = starter.image.run(pixels, starter.image.outputs.index("probabilities"))

    found = starter.classifier.probabilities(pixels)

    for place, label in enumerate(starter.classifier.labels):
        same = [number for number, name in enumerate(names) if name == label]
        np.testing.assert_allclose(found[:, place], columns[:, same].sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_a_batch_is_classified_as_each_alone(server: Service, starter: Model) -> None:
    """More than one batch of the client, in order, with the labels of the columns."""
    reply = ask(server, PHOTOS, classify=True)

    assert starter.classifier
    assert starter.classifier.labels == reply.labels
    alone = [
        starter.classifier.probabilities([starter.preprocess(photo, 10**8)])[0] for photo in PHOTOS
    ]
    np.testing.assert_allclose(unpack_rows(reply.rows, reply.dim), alone, atol=1e-4)


def test_one_bad_image_is_not_classified(server: Service) -> None:
    """The others are."""
    reply = ask(server, [PHOTOS[0], b"no image", PHOTOS[1]], classify=True)

    assert {1: 415} == {place: problem.status for place, problem in reply.problems.items()}
    sums = unpack_rows(reply.rows, reply.dim).sum(axis=1)
    np.testing.assert_allclose(sums, [1, 0, 1], atol=1e-5)


def test_embedding_goes_on_as_before(server: Service, starter: Model) -> None:
    """Without `classify` the same model embeds, and says how its cosines become scores."""
    reply = ask(server, PHOTOS[:1])

    assert (starter.dim, []) == (reply.dim, reply.labels)
    assert Logits(10.0) == reply.logits


def test_a_model_without_names_has_no_classifier(tmp_path: Path) -> None:
    """Names without the output are no classifier either, and neither stops the start."""
    folder = write_tiny_model(tmp_path / "tiny")
    assert load_model("tiny", root=tmp_path).classifier is None

    (folder / "visual/labels.json").write_text('["a", "b"]')

    assert load_model("tiny", root=tmp_path).classifier is None


@pytest.mark.parametrize("names", ["[]", '["cat"]', "{}", '["cat"'])
def test_names_that_do_not_fit_stop_the_start(tmp_path: Path, names: str) -> None:
    """As many names as columns, in a JSON list; anything else is told before serving."""
    shutil.copytree(MODELS / "starter", tmp_path / "model")
    (tmp_path / "model/visual/labels.json").write_text(names)

    with pytest.raises(ConfigError):
        load_model("model", root=tmp_path).warm()


@pytest.mark.parametrize("logits", [{"logit_scale": 0}, {"logit_bias": "x"}], ids=str)
def test_logits_that_are_none_stop_the_start(tmp_path: Path, logits: dict[str, Any]) -> None:
    """A scale is over zero; the file is named."""
    config = write_tiny_model(tmp_path / "tiny") / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **logits}))

    with pytest.raises(ConfigError, match=next(iter(logits))):
        load_model("tiny", root=tmp_path)
