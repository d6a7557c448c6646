"""Classification by middle and an inference server, with models that have no classifier."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devtools.services import Service, running, wait_until, with_section
from devtools.tiny_model import write_tiny_model
from inference.client import imagenet_classes
from inference.clip.model import Model, load_model
from inference.messages import Logits
from middle.classify import scores
from tests.front.pictures import encoded, noise

PHOTOS = [encoded(noise(seed), "PNG") for seed in range(10)]
LABELS = ["red", "green", "blue", "square"]
CONFIG: dict[str, Any] = {
    "Middle": {"port": 0, "deadline-ms": 20_000},
    "Inference": {"port": 0, "mclip": None},
}
CLOSE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny models: two with other weights, and one trained with a bias."""
    folder = tmp_path_factory.mktemp("classify")
    for seed, name in enumerate(("tiny", "other", "sigmoid")):
        config = write_tiny_model(folder / name, seed) / "config.json"
        logits = {"logit_scale": 7.0, **({"logit_bias": -2.5} if name == "sigmoid" else {})}
        config.write_text(json.dumps({**json.loads(config.read_text()), **logits}))
    return folder


@contextmanager
def serving(folder: Path, clip: str) -> Iterator[tuple[Service, Service]]:
    """Inference with a model, and middle before it."""
    config = with_section(CONFIG, "Inference", clip=clip)
    with running("inference/inference.py", config, cwd=folder) as inference:
        config = with_section(config, "Inference", port=inference.port)
        with running("middle/middle.py", config, cwd=folder) as middle:
            yield inference, middle


@pytest.fixture(scope="module")
def services(folder: Path) -> Iterator[tuple[Service, Service]]:
    """Inference with the model tiny, and middle."""
    with serving(folder, "tiny") as running:
        yield running


def query(images: Sequence[bytes] = PHOTOS[:1], **fields: Any) -> dict[str, Any]:
    return {"images": [base64.b64encode(image).decode() for image in images], **fields}


def classify(service: Service, images: Sequence[bytes] = PHOTOS[:1], **fields: Any) -> Any:
    return service.post("/classify", query(images, **fields))


def table(result: Any) -> dict[str, float]:
    return {one["label"]: one["score"] for one in result["classes"]}


def expected(model: Model, image: bytes, labels: Sequence[str], template: str) -> dict[str, float]:
    """The scores by the towers in this process."""
    texts = model.encode_text([template.replace("{}", label) for label in labels])
    (row,) = scores(model.encode_images([image]) @ texts.T, model.logits)
    return dict(zip(labels, row.tolist(), strict=True))


def embedded_texts(inference: Service) -> int:
    """How many texts the inference server has embedded."""
    metrics = inference.request("GET", "/metrics").data.decode()
    found = re.search(r'batch_items_total{batcher="\w+-text",outcome="ok"} ([\d.]+)', metrics)
    return int(float(found[1])) if found else 0


@pytest.mark.parametrize("template", ["a photo of a {}.", "the {}"])
def test_scores_are_those_of_the_towers(
    services: tuple[Service, Service], folder: Path, template: str
) -> None:
    """Labels go into the template, CLIP's own if none is given; config.json has the scale."""
    given = {} if template == "a photo of a {}." else {"template": template}
    answer = classify(services[1], PHOTOS[:3], labels=LABELS, **given)

    model = load_model("tiny", root=folder)
    assert Logits(7.0) == model.logits
    for photo, result in zip(PHOTOS, answer["results"], strict=False):
        found = table(result)
        assert pytest.approx(expected(model, photo, LABELS, template), abs=CLOSE) == found
        assert sorted(found.values(), reverse=True) == list(found.values())
    assert ("tiny", "zero-shot") == (answer["model"], answer["method"])
    assert {"labels", "images", "total"} == set(answer["took_ms"])


def test_a_model_trained_with_a_bias_gives_each_label_its_own_score(folder: Path) -> None:
    """logit_bias in config.json makes it SigLIP's sigmoid: a label alone scores as among others."""
    with serving(folder, "sigmoid") as (_, middle):
        together = table(classify(middle, labels=LABELS)["results"][0])
        alone: dict[str, float] = {}
        for label in LABELS:
            alone |= table(classify(middle, labels=[label])["results"][0])

    model = load_model("sigmoid", root=folder)
    assert pytest.approx(expected(model, PHOTOS[0], LABELS, "a photo of a {}."), abs=CLOSE) == alone
    assert pytest.approx(together, abs=CLOSE) == alone


def test_images_classified_together_are_as_classified_alone(
    services: tuple[Service, Service],
) -> None:
    """More images than one batch holds, in order."""
    together = classify(services[1], PHOTOS, labels=LABELS)["results"]
    alone = [classify(services[1], [photo], labels=LABELS)["results"][0] for photo in PHOTOS]

    for one, other in zip(together, alone, strict=True):
        assert pytest.approx(table(one), abs=CLOSE) == table(other)
    assert 1 < len({round(table(one)["red"], 3) for one in together})


def test_a_bad_image_fails_alone(services: tuple[Service, Service]) -> None:
    """The others have their classes; the bad ones say what is wrong, as a request would."""
    files = [PHOTOS[0], b"no image", PHOTOS[0][:200], PHOTOS[1]]
    results = classify(services[1], files, labels=LABELS, top=2)["results"]

    assert [{"classes"}, {"problem"}, {"problem"}, {"classes"}] == [set(one) for one in results]
    problems = [(one["problem"]["status"], one["problem"]["code"]) for one in results[1:3]]
    assert [(415, "unsupported_media_type"), (422, "unprocessable")] == problems
    assert [2, 2] == [len(results[0]["classes"]), len(results[3]["classes"])]


def test_when_every_image_is_bad_the_request_fails(services: tuple[Service, Service]) -> None:
    """One bad image is an error with its own status; of several, that of the highest."""
    for files, status, place in (
        ([b"no image"], 415, 0),
        ([b"no image", PHOTOS[0][:200], b""], 422, 1),
    ):
        response = services[1].request("POST", "/classify", json=query(files, labels=LABELS))
        assert status == response.status
        assert response.json()["detail"].startswith(f"image {place}: ")


def test_labels_are_embedded_once(services: tuple[Service, Service]) -> None:
    """A set of labels that was asked for costs no text inference again; a new label does."""
    inference, middle = services
    first = classify(middle, labels=[*LABELS, "the square"])
    count = embedded_texts(inference)

    again = classify(middle, labels=["the square", *LABELS])

    assert count == embedded_texts(inference) > 0
    assert table(first["results"][0]) == pytest.approx(table(again["results"][0]), abs=CLOSE)
    classify(middle, labels=[*LABELS, "the red square"])
    assert count + 1 == embedded_texts(inference)
    classify(middle, labels=LABELS, template="of {}")
    assert count + 1 + len(LABELS) == embedded_texts(inference)


def test_a_thousand_labels_are_as_many_as_there_may_be(services: tuple[Service, Service]) -> None:
    """They are ranked together, and told of one by one no more than is asked for."""
    labels = [f"{word} {number}" for number in range(250) for word in LABELS]
    (result,) = classify(services[1], labels=labels, top=1000)["results"]

    assert set(labels) == set(table(result))
    assert pytest.approx(1) == sum(table(result).values())
    more = services[1].request("POST", "/classify", json=query(labels=[*labels, "red"]))
    assert (400, "bad_request") == (more.status, more.json()["code"])


def test_a_long_list_is_embedded_once_for_all_that_ask(services: tuple[Service, Service]) -> None:
    """Twenty queries for the same new labels at a time fill no queue and do no work twice."""
    inference, middle = services
    labels = [f"{word} {number} of the" for number in range(250) for word in LABELS]
    before = embedded_texts(inference)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: classify(middle, labels=labels), range(20)))

    assert [1] * 20 == [len(answer["results"]) for answer in answers]
    assert len(labels) == embedded_texts(inference) - before


def test_without_a_classifier_the_classes_are_imagenets_by_text(
    services: tuple[Service, Service],
) -> None:
    """Without labels an image model that knows no classes answers zero-shot."""
    answer = classify(services[1], PHOTOS[:2], top=1000)

    assert ("tiny", "zero-shot") == (answer["model"], answer["method"])
    for result in answer["results"]:
        assert set(imagenet_classes()) == set(table(result))
    (warning,) = answer["warnings"]
    assert re.fullmatch(r"label \d+ and \d+ more: the text was cut .* 8 tokens", warning)


def test_labels_of_another_model_are_not_used(folder: Path) -> None:
    """An inference server that came back with another model is asked for the labels anew."""
    config = with_section(CONFIG, "Inference", clip="tiny")
    with running("inference/inference.py", config, cwd=folder) as first:
        config = with_section(config, "Inference", port=first.port)
        with running("middle/middle.py", config, cwd=folder) as middle:
            before = table(classify(middle, labels=LABELS)["results"][0])
            first.kill()
            config = with_section(config, "Inference", clip="other")
            with running("inference/inference.py", config, cwd=folder):
                other = load_model("other", root=folder)
                found = pytest.approx(
                    expected(other, PHOTOS[0], LABELS, "a photo of a {}."), abs=CLOSE
                )
                # middle looks once a second what it has
                wait_until(lambda: found == table(classify(middle, labels=LABELS)["results"][0]))
    assert found != before


def test_labels_in_other_letters_are_answered_by_clip_with_a_warning(
    services: tuple[Service, Service],
) -> None:
    """Without mclip all labels of a set go to clip, never some; asked for, mclip is a 400."""
    answer = classify(services[1], labels=["red", "château"])
    asked = services[1].request("POST", "/classify", json=query(labels=["red"], model="mclip"))

    assert "tiny" == answer["model"]
    assert any("answered by clip" in warning for warning in answer["warnings"])
    assert (400, "model_unavailable") == (asked.status, asked.json()["code"])


def test_a_label_that_fails_is_named(services: tuple[Service, Service]) -> None:
    """A label without an embedding fails the request, which could not be scored without it."""
    message = query(labels=["red", "poison"], template="{}")
    response = services[1].request("POST", "/classify", json=message)

    assert 500 == response.status
    assert response.json()["detail"].startswith("label 1: ")


def test_without_inference_the_answer_is_503(folder: Path) -> None:
    """Nothing can be classified: an error that says to come back, not a list of problems."""
    with serving(folder, "tiny") as (inference, middle):
        inference.kill()
        for fields in ({}, {"labels": LABELS}):
            response = middle.request("POST", "/classify", json=query(PHOTOS[:2], **fields))
            assert (503, "1") == (response.status, response.headers["Retry-After"])
