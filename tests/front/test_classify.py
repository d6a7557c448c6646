"""POST /v1/classify in each of its forms, and what it refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.services import Cluster
from middle.messages import MAX_INPUTS
from tests.front.front_client import JSON, Reply, assert_problem, in_base64, post
from tests.front.pictures import encoded, noise

PATH = "/v1/classify"
PHOTOS = [encoded(noise(seed), "PNG") for seed in range(3)]
IMAGE = in_base64(PHOTOS[0])
LABELS = ["red", "green", "blue"]
Parts = list[tuple[str, Any]]


@pytest.fixture(autouse=True)
def _good_after_bad(cluster: Cluster) -> Iterator[None]:
    """After every bad input the next good request succeeds."""
    yield
    assert 3 == len(classes(form(cluster, [file(PHOTOS[0]), *labels()]))[0])


def file(data: bytes, name: str = "image") -> tuple[str, Any]:
    return name, ("picture", data)


def labels(*others: str) -> Parts:
    return [("label", label) for label in (*LABELS, *others)]


def form(cluster: Cluster, parts: Parts) -> Reply:
    return cluster.front.request("POST", PATH, fields=parts)


def ask(cluster: Cluster, **query: Any) -> Reply:
    return post(cluster, json.dumps({"images": [IMAGE], **query}).encode(), PATH)


def classes(response: Reply) -> list[Any]:
    """Label and score of each class, for each image; False where there is a problem."""
    assert 200 == response.status, response.data
    return [
        "classes" in result
        and {one["label"]: pytest.approx(one["score"], abs=1e-4) for one in result["classes"]}
        for result in response.json()["results"]
    ]


def test_a_form_is_answered_as_json_is(cluster: Cluster) -> None:
    """Repeated files and labels, and the other fields once each."""
    fields = {"template": "a photo of the {}", "top": 2, "model": "clip"}
    images = [in_base64(photo) for photo in PHOTOS]
    in_json = classes(ask(cluster, images=images, labels=LABELS, **fields))
    parts = [*map(file, PHOTOS), *labels(), *((name, str(one)) for name, one in fields.items())]

    assert in_json == classes(form(cluster, parts))
    assert [2, 2, 2] == [len(one) for one in in_json]
    message = {"images": images, "labels": LABELS, **fields}
    assert in_json == classes(cluster.middle.request("POST", "/classify", json=message))


def test_the_answer_names_the_request(cluster: Cluster) -> None:
    """The reply has what the README shows, and nothing else."""
    response = ask(cluster, labels=LABELS, template="a {}")

    answer = response.json()
    assert {
        "results", "model", "method", "took_ms", "warnings", "request_id",
    } == set(answer)  # fmt: skip
    assert response.headers["X-Request-Id"] == answer["request_id"]
    assert [] == answer["warnings"]


@pytest.mark.parametrize("bad", [b"no image", b"", PHOTOS[0][:200]], ids=["text", "empty", "cut"])
def test_a_bad_image_among_good_ones_fails_alone(cluster: Cluster, bad: bytes) -> None:
    """In a form as in JSON; alone it is an error with its own status."""
    images = [PHOTOS[0], bad, PHOTOS[1]]
    in_form = form(cluster, [*map(file, images), *labels()])
    in_json = ask(cluster, images=[in_base64(image) for image in images], labels=LABELS)
    alone = form(cluster, [file(bad), *labels()])

    assert classes(in_form) == classes(in_json)
    assert [True, False, True] == [bool(one) for one in classes(in_json)]
    problem = in_json.json()["results"][1]["problem"]
    assert_problem(alone, problem["status"], problem["code"])
    assert problem["title"]
    assert "request_id" not in problem


BAD: dict[str, dict[str, Any]] = {
    "no images": {"images": []},
    "null images": {"images": None},
    "one image": {"images": IMAGE},
    "too many images": {"images": [IMAGE] * (MAX_INPUTS + 1)},
    "bad base64": {"images": ["?"]},
    "unknown field": {"k": 5},
    "the form's field": {"image": IMAGE},
    "no labels": {"labels": []},
    "a label": {"labels": "red"},
    "empty label": {"labels": ["red", ""]},
    "invisible label": {"labels": ["red", "\u200b"]},
    "long label": {"labels": ["red", "r" * 2001]},
    "twice": {"labels": ["red", "blue", "red"]},
    "number for a label": {"labels": ["red", 5]},
    "too many labels": {"labels": [str(number) for number in range(1001)]},
    "no place": {"labels": LABELS, "template": "a photo"},
    "two places": {"labels": LABELS, "template": "{} {}"},
    "named place": {"labels": LABELS, "template": "a {label}"},
    "long template": {"labels": LABELS, "template": "{}" + "r" * 2000},
    "long together": {"labels": ["r" * 1500], "template": "{}" + "r" * 1500},
    "unknown model": {"labels": LABELS, "model": "gpt"},
    **{f"top {top}": {"top": top} for top in (0, -1, 1.5, True, "5", None, 1001)},
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_a_query_that_cannot_be_answered_is_refused(
    cluster: Cluster, fields: dict[str, Any]
) -> None:
    """Front and middle refuse the same, with 400."""
    assert_problem(ask(cluster, **fields), 400, "bad_request")
    message = {"images": [IMAGE], **fields}
    assert_problem(cluster.middle.request("POST", "/classify", json=message), 400, "bad_request")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"images"', b"\xff", b'{"images": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(cluster: Cluster, body: bytes) -> None:
    """Malformed JSON is 400; no or another content type is 415."""
    assert_problem(post(cluster, body, PATH), 400, "bad_request")
    assert_problem(post(cluster, body, PATH, "text/plain"), 415, "unsupported_media_type")
    assert_problem(post(cluster, body, f"{PATH}?top=1"), 400, "bad_request")


PARTS: dict[str, Parts] = {
    "no image or label": [("top", "3")],
    "no image": labels(),
    "twice": [file(PHOTOS[0]), *labels("red")],
    "top twice": [file(PHOTOS[0]), ("top", "1"), ("top", "1")],
    "top ten": [file(PHOTOS[0]), ("top", "ten")],
    "unknown field": [file(PHOTOS[0]), ("k", "5")],
    "JSON's labels": [file(PHOTOS[0]), ("labels", "red")],
    "JSON's images": [file(PHOTOS[0]), ("images", IMAGE)],
    "image as text": [file(PHOTOS[0]), ("image", IMAGE)],
    "another file": [file(PHOTOS[0]), file(PHOTOS[0], "photo")],
    "labels in a file": [file(PHOTOS[0]), file(b"red", "label")],
    "not UTF-8": [file(PHOTOS[0]), ("label", b"\xff")],
    "too many images": [file(b"x")] * (MAX_INPUTS + 1),
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_form_that_cannot_be_answered_is_refused(cluster: Cluster, parts: Parts) -> None:
    """Fields that are unknown, repeated, or not of a form are 400."""
    assert_problem(form(cluster, parts), 400, "bad_request")


def test_a_body_over_the_limit_is_refused(cluster: Cluster) -> None:
    """The limit is that of every request."""
    huge = encoded(noise(size=(400, 300)), "BMP")
    body = json.dumps({"images": [in_base64(huge)]}).encode()

    assert_problem(post(cluster, body, PATH, JSON), 413, "too_large")
