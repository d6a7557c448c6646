"""Segments over the public API: real photos, and what is wrong with a request."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devtools.services import Cluster
from tests.front.front_client import Reply, ask, assert_problem, in_base64, post, upload
from tests.front.pictures import BOTH, CASTLE, OWL, encoded, noise, png, turned

LEFT, RIGHT = (0.25, 0.5, 1), (0.75, 0.5, 1)
"""Clicks on the owl and on the castle."""
NOISE = encoded(noise(), "PNG")
HUGE = png((20_000, 20_000), 1, 0, b"")
"""A file of a few bytes that says it has 400 megapixels."""


def segment(cluster: Cluster, **request: Any) -> Reply:
    return post(cluster, json.dumps(request, default=in_base64).encode(), "/v1/segment")


def segment_form(cluster: Cluster, file: bytes, **fields: str) -> Reply:
    sent = {"image": ("a", file), **fields}
    return cluster.front.request("POST", "/v1/segment", fields=sent)


def answered(reply: Reply) -> Any:
    assert reply.status == 200, reply.data
    return reply.json()


def best(reply: Reply) -> str:
    return Path(answered(reply)["hits"][0]["path"]).name


@pytest.fixture(scope="module")
def both_id(samples: Cluster) -> str:
    """The id of the picture of the two."""
    hits = samples.front.get("/v1/search?text=an+owl&k=9")["hits"]
    (image_id,) = (hit["id"] for hit in hits if hit["path"].endswith(BOTH))
    return str(image_id)


@pytest.fixture(scope="module")
def both(samples: Cluster, both_id: str) -> bytes:
    """The file of the picture of the two."""
    return samples.front.request("GET", f"/v1/images/{both_id}").data


@pytest.mark.parametrize(("click", "name"), [(LEFT, OWL), (RIGHT, CASTLE)])
def test_what_is_clicked_in_a_picture_of_two_is_found(
    samples: Cluster, both: bytes, click: tuple[float, float, int], name: str
) -> None:
    """The box of its segment, as it is, is the region of the search."""
    found = answered(segment(samples, image=both, points=[click]))

    assert best(ask(samples, image=both, region=found["box"])) == name
    assert (found["method"], found["score"] > 0.2) == ("grabcut", True)
    assert {"decode", "total"} == set(found["took_ms"])
    mask = Image.open(io.BytesIO(base64.b64decode(found["mask"])))
    assert (mask.mode, mask.width) == ("1", 2 * mask.height)
    assert mask.getpixel((int(click[0] * mask.width), int(click[1] * mask.height)))


def test_a_form_an_id_and_a_file_are_answered_alike(
    samples: Cluster, both: bytes, both_id: str
) -> None:
    """The same segment by each of them; only times and the request's id differ."""
    box = [0.05, 0.05, 0.45, 0.95]
    replies = [
        segment(samples, image=both, points=[LEFT], box=box),
        segment(samples, id=both_id, points=[LEFT], box=box),
        segment_form(samples, both, points=json.dumps([LEFT]), box="0.05, 0.05, 0.45, 0.95"),
    ]
    found = [answered(reply) for reply in replies]

    for one, reply in zip(found, replies, strict=True):
        assert one.pop("request_id") == reply.headers["X-Request-Id"]
        one.pop("took_ms")
    assert found[0] == found[1] == found[2]
    left, top, right, bottom = found[0]["box"]
    assert box[0] - 0.01 <= left < right <= box[2] + 0.01
    assert box[1] - 0.01 <= top < bottom <= box[3] + 0.01


def test_a_mask_as_run_lengths_is_the_mask(samples: Cluster, both: bytes) -> None:
    """Column by column, the first run outside, as COCO has them."""
    png = answered(segment(samples, image=both, points=[LEFT]))["mask"]
    runs = answered(segment(samples, image=both, points=[LEFT], mask_format="rle"))["mask"]
    inside = np.arange(len(runs["counts"])) % 2 == 1
    mask = np.repeat(inside, runs["counts"]).reshape(runs["size"], order="F")

    assert np.array_equal(mask, np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))))


def test_places_are_of_the_picture_as_it_is_shown(samples: Cluster) -> None:
    """A photo that was taken with the camera turned has its mask upright."""
    file, shown = turned(6)
    found = answered(segment(samples, image=file, box=[0.1, 0.2, 0.9, 0.8], mask_format="rle"))

    assert found["mask"]["size"] == [shown.height, shown.width]


CLICK: dict[str, Any] = {"points": [[0.5, 0.5, 1]]}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({}, "give a `box`, or `points` with one of label 1"),
    "no points": ({"points": []}, "give a `box`"),
    "outside alone": ({"points": [[0.5, 0.5, 0]]}, "with one of label 1"),
    "1,001 points": ({"points": [[0.5, 0.5, 1]] * 1001}, "`points` has 1001 points; 32 is"),
    "33 points": ({"points": [[0.5, 0.5, 1]] * 33}, "`points` has 33 points"),
    "left of it": ({"points": [[0.5, 0.5, 1], [-0.1, 0.5, 1]]}, "`points[1]` is [x, y, label]"),
    "below it": ({"points": [[0.5, 1.01, 1]]}, "`points[0]`"),
    "pixels": ({"points": [[120, 80, 1]]}, "`points[0]`"),
    "another label": ({"points": [[0.5, 0.5, 2]]}, "label 1 inside"),
    "half a label": ({"points": [[0.5, 0.5, 0.5]]}, "$.points[0][2]"),
    "no label": ({"points": [[0.5, 0.5]]}, "$.points[0]"),
    "no list": ({"points": 0.5}, "$.points"),
    "texts": ({"points": [["0.5", "0.5", "1"]]}, "$.points[0][0]"),
    "turned round": ({"box": [0.6, 0, 0.5, 1]}, "`box` is [x0, y0, x1, y1]"),
    "upside down": ({"box": [0, 0.6, 1, 0.5]}, "`box` is"),
    "zero area": ({"box": [0.5, 0, 0.5, 1]}, "`box` is"),
    "next to nothing": ({"box": [0.5, 0, 0.5 + 1e-9, 1]}, "`box` has a side under"),
    "outside": ({"box": [0, 0, 1, 1.1]}, "`box` is"),
    "box outside, good click": ({**CLICK, "box": [-1, 0, 1, 1]}, "`box` is"),
    "three numbers": ({"box": [0, 0, 1]}, "$.box"),
    "unknown format": ({**CLICK, "mask_format": "svg"}, "$.mask_format`; choose png, rle"),
    "unknown field": ({**CLICK, "text": "an owl"}, "the fields are"),
    "empty image": ({**CLICK, "image": ""}, "the image is empty"),
    "no base64": ({**CLICK, "image": "?"}, "`image` is not base64"),
}


@pytest.mark.parametrize(("asked", "told"), BAD.values(), ids=BAD)
def test_a_wrong_request_is_told_what_is_wrong(
    cluster: Cluster, asked: dict[str, Any], told: str
) -> None:
    """400 that names the field, of front and of middle."""
    sent = json.dumps({"image": NOISE, **asked}, default=in_base64).encode()
    headers = {"Content-Type": "application/json"}
    for reply in (
        post(cluster, sent, "/v1/segment"),
        cluster.middle.request("POST", "/segment", body=sent, headers=headers),
    ):
        assert_problem(reply, 400, "bad_request")
        assert told in reply.json()["detail"]


SOURCES: dict[str, tuple[dict[str, Any], int, str]] = {
    "none": ({}, 400, "bad_request"),
    "two": ({"image": NOISE, "id": "0" * 32}, 400, "bad_request"),
    "address": ({"image_url": "https://example.com/a.jpg"}, 400, "image_url_off"),
    "unknown": ({"id": "0" * 32}, 404, "unknown_id"),
    "no id": ({"id": "owl"}, 400, "bad_request"),
    "no picture": ({"image": b"text"}, 415, "unsupported_media_type"),
    "cut off": ({"image": NOISE[:500]}, 422, "unprocessable"),
    "huge": ({"image": HUGE}, 413, "too_large"),
    "a strip": ({"image": encoded(noise(0, (2100, 100)), "PNG")}, 400, "bad_request"),
}


@pytest.mark.parametrize(("source", "status", "code"), SOURCES.values(), ids=SOURCES)
def test_one_picture_is_needed(
    cluster: Cluster, source: dict[str, Any], status: int, code: str
) -> None:
    """As of a search by an image."""
    assert_problem(segment(cluster, **source, **CLICK), status, code)


FORMS = {
    "no JSON": {"points": "0.5,0.5,1"},
    "one point": {"points": "[0.5,0.5,1]"},
    "nested": {"points": "[" * 5000},
    "no number": {"points": '[["a",0.5,1]]'},
    "NaN": {"box": "nan,0,1,1"},
    "no box": {"box": "all"},
}


@pytest.mark.parametrize("fields", FORMS.values(), ids=FORMS)
def test_a_form_that_holds_no_prompt_is_refused(cluster: Cluster, fields: dict[str, str]) -> None:
    """400 that names the field."""
    reply = segment_form(cluster, NOISE, **fields)

    assert_problem(reply, 400, "bad_request")
    assert next(iter(fields)) in reply.json()["detail"]


def test_a_short_deadline_is_kept(samples: Cluster, both: bytes) -> None:
    """503 says when to ask again; the next request is answered."""
    sent = json.dumps({"image": both, "points": [LEFT]}, default=in_base64).encode()
    headers = {"Content-Type": "application/json", "X-Deadline-Ms": "5"}
    late = samples.front.request("POST", "/v1/segment", body=sent, headers=headers)

    assert_problem(late, 503, "deadline_exceeded")
    assert late.headers["Retry-After"] == "1"
    assert answered(post(samples, sent, "/v1/segment"))


def test_an_address_has_no_parameters(cluster: Cluster) -> None:
    """And GET is not a segment's method."""
    assert_problem(post(cluster, b"{}", "/v1/segment?k=1"), 400, "bad_request")
    assert cluster.front.request("GET", "/v1/segment").status == 405
    assert_problem(upload(cluster, NOISE, points="[[0.5,0.5,1]]"), 400, "bad_request")
