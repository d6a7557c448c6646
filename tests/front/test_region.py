"""Searches by a part of a picture."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devtools.services import Cluster
from devtools.tiny_model import DIM
from tests.front.front_client import ask, assert_problem, embed, in_base64, post, upload
from tests.front.pictures import encoded, noise

LEFT = (0, 0, 0.5, 1)


@pytest.fixture(scope="module")
def composite() -> bytes:
    """Two pictures of the collection, side by side."""
    both = Image.new("RGB", (80, 30))
    both.paste(noise(3), (0, 0))
    both.paste(noise(4), (40, 0))
    return encoded(both, "PNG")


def classify(cluster: Cluster, **fields: Any) -> Any:
    body = json.dumps({"labels": ["red", "blue"], **fields}, default=in_base64).encode()
    return post(cluster, body, "/v1/classify")


def names(answer: Any) -> list[str]:
    return [hit["path"].rpartition("/")[2] for hit in answer.json()["hits"]]


def test_each_half_finds_its_picture(cluster: Cluster, composite: bytes) -> None:
    """In JSON, in a form as in an address or as JSON; each region has an answer of its own."""
    right = "0.5, 0, 1, 1"

    assert "noise-3.png" == names(ask(cluster, image=composite, region=LEFT))[0]
    assert "noise-4.png" == names(ask(cluster, image=composite, region=(0.5, 0, 1, 1)))[0]
    assert "noise-4.png" == names(upload(cluster, composite, region=right))[0]
    assert "noise-3.png" == names(upload(cluster, composite, region=json.dumps(LEFT)))[0]
    again = ask(cluster, image=composite, region=LEFT)
    assert ("hit", "noise-3.png") == (again.headers["X-Cache"], names(again)[0])


def test_all_of_a_picture_is_a_region(cluster: Cluster, composite: bytes) -> None:
    """Its answer is that of the picture."""
    whole, region = (
        ask(cluster, image=composite, **fields).json()["hits"]
        for fields in ({}, {"region": (0, 0, 1, 1)})
    )
    assert whole == region


def test_a_part_of_an_indexed_picture(cluster: Cluster) -> None:
    """By its id: the same as by its file, in JSON and in an address; the id alone is another."""
    hits = ask(cluster, image=noise_file(5), k=1).json()["hits"]
    image_id = hits[0]["id"]
    by_file = ask(cluster, image=noise_file(5), region=LEFT).json()["hits"]

    assert by_file == ask(cluster, id=image_id, region=LEFT).json()["hits"]
    path = f"/v1/search?id={image_id}&region=0,0,0.5,1"
    assert by_file == cluster.front.get(path)["hits"]
    assert by_file == cluster.front.get(path)["hits"]  # which front has kept
    assert by_file != ask(cluster, id=image_id).json()["hits"]


def noise_file(seed: int) -> bytes:
    return encoded(noise(seed), "PNG")


def test_the_parts_of_pictures_are_embedded_and_classified(
    cluster: Cluster, composite: bytes
) -> None:
    """Each image has its region, or null; the halves are as the pictures that they are of."""
    images = [composite, composite, composite]
    regions = [LEFT, None, (0.5, 0, 1, 1)]
    apart = [noise_file(3), composite, noise_file(4)]

    found = embed(cluster, images=images, regions=regions)["embeddings"]
    np.testing.assert_allclose(embed(cluster, images=apart)["embeddings"], found, atol=1e-6)
    classes = classify(cluster, images=images, regions=regions).json()["results"]
    assert classify(cluster, images=apart).json()["results"] == classes
    fields = [
        *(("image", (f"{place}", composite)) for place in range(3)),
        *(("region", value) for value in ("0,0,0.5,1", "", "[0.5, 0, 1, 1]")),
        *(("label", label) for label in ("red", "blue")),
    ]
    assert classes == cluster.front.request("POST", "/v1/classify", fields=fields).json()["results"]


BAD: dict[str, Any] = {
    "below 0": [-0.1, 0, 1, 1],
    "over 1": [0, 0, 1, 1.01],
    "turned round": [0.6, 0, 0.5, 1],
    "upside down": [0, 0.6, 1, 0.5],
    "zero area": [0.5, 0, 0.5, 1],
    "next to nothing": [0.5, 0, 0.5 + 1e-9, 1],
    "three numbers": [0, 0, 1],
    "five numbers": [0, 0, 1, 1, 1],
    "none": [],
    "texts": ["0", "0", "1", "1"],
    "null inside": [None, 0, 1, 1],
    "an object": {"x0": 0},
    "a number": 1,
    "huge": [0, 0, 1, 1e300],
}


@pytest.mark.parametrize("region", BAD.values(), ids=BAD)
def test_what_is_no_part_of_a_picture_is_refused(
    cluster: Cluster, composite: bytes, region: Any
) -> None:
    """400 names the field; middle says the same, and the other routes do."""
    body = json.dumps({"image": composite, "region": region}, default=in_base64).encode()
    headers = {"Content-Type": "application/json"}
    replies = [
        post(cluster, body),
        cluster.middle.request("POST", "/search", body=body, headers=headers),
        classify(cluster, images=[composite], regions=[region]),
    ]

    for reply in replies:
        assert_problem(reply, 400, "bad_request")
        assert "region" in reply.json()["detail"]
    assert 200 == ask(cluster, image=composite, region=LEFT).status


@pytest.mark.parametrize("text", ["nan,0,1,1", "0,0,inf,1", "", "0,0,1", "a,b,c,d", "[[0,0,1,1]]"])
def test_a_text_that_is_no_region_is_refused(cluster: Cluster, composite: bytes, text: str) -> None:
    """In a form, where NaN can be written."""
    reply = upload(cluster, composite, region=text)

    assert_problem(reply, 400, "bad_request")
    assert "region" in reply.json()["detail"]


WITHOUT: list[dict[str, Any]] = [{}, {"text": "red"}, {"embedding": [1.0] * DIM}]


@pytest.mark.parametrize("fields", WITHOUT, ids=lambda fields: "+".join(fields) or "none")
def test_a_region_needs_a_picture(cluster: Cluster, fields: dict[str, Any]) -> None:
    """A text and a vector have no parts."""
    assert_problem(ask(cluster, region=LEFT, **fields), 400, "bad_request")


def test_a_thin_region_is_refused(cluster: Cluster, composite: bytes) -> None:
    """Kind I: over 20:1 it would be enlarged without measure."""
    reply = ask(cluster, image=composite, region=(0, 0.5, 1, 0.502))

    assert_problem(reply, 400, "bad_request")
    assert "`region` has 80x1 pixels; 20:1 is the limit" == reply.json()["detail"]


@pytest.mark.parametrize("regions", [[LEFT], [LEFT] * 3])
def test_each_image_has_one_region(cluster: Cluster, composite: bytes, regions: Any) -> None:
    """Fewer or more regions than images are 400."""
    reply = classify(cluster, images=[composite] * 2, regions=regions)

    assert_problem(reply, 400, "bad_request")
    assert reply.json()["detail"].startswith("`regions` has one for each image")
