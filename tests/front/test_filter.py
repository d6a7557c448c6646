"""Filters through all services: JSON, form, address; what is refused, and what is kept."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from devtools.collection import Collection
from devtools.services import Cluster, cluster

IMAGES = 40


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Images of a table: image n has the number n and, if n is even, an album."""
    folder = tmp_path_factory.mktemp("filters")
    collection = Collection(folder, IMAGES, 3)
    rows = [f"{n:04}.png,{n},{'zoo' if n % 2 == 0 else ''}" for n in range(IMAGES)]
    table = folder / "images/table.csv"
    table.write_text("\n".join(["path,number,album", *rows]))
    collection.config["Prepare"]["images"] = ["images/table.csv"]
    collection.prepare()
    with cluster(collection.config, 2, folder) as running:
        yield running


def found(services: Cluster, asked: Any, **query: Any) -> set[int]:
    """The numbers of the images that a filter finds."""
    body = {"text": "red", "k": IMAGES, "filter": asked, **query}
    hits = services.front.post("/v1/search", body)["hits"]
    return {hit["metadata"]["number"] for hit in hits}


def test_only_images_that_pass_are_found(services: Cluster) -> None:
    """By fields of the table and by those that prepare knows."""
    assert set(range(30, 40)) == found(services, {"field": "number", "gte": 30})
    assert {0, 2, 4} == found(
        services, {"and": [{"field": "number", "lt": 5}, {"field": "album", "eq": "zoo"}]}
    )
    assert {7} == found(services, {"field": "path", "eq": "images/0007.png"})
    assert set(range(IMAGES)) == found(services, {"not": {"field": "format", "eq": "jpg"}})
    assert set() == found(services, {"field": "number", "gt": 99})


def test_hits_tell_what_is_known_of_their_files(services: Cluster) -> None:
    """And each of it is a field of its own."""
    hit = services.front.post("/v1/search", {"text": "red", "k": 1})["hits"][0]
    facts, number = hit["facts"], hit["metadata"]["number"]

    assert {"size", "modified"} == facts.keys()
    for name, value in {**facts, "when": facts["modified"]}.items():
        assert number in found(services, {"field": name, "eq": value})
    assert set() == found(services, {"field": "when", "gte": "9999"})


def test_a_filter_goes_with_every_way_to_ask(services: Cluster) -> None:
    """An id, an image in a form, and an address, whose filter is JSON as text."""
    asked = {"field": "number", "in": [1, 2, 3]}
    front = services.front
    first = front.post("/v1/search", {"text": "red", "k": 1})["hits"][0]
    liked = front.post("/v1/search", {"id": first["id"], "filter": asked})
    address = front.request(
        "GET", "/v1/search", fields={"text": "red", "filter": json.dumps(asked)}
    ).json()
    image = front.request("GET", first["thumbnail"]).data
    form = front.request(
        "POST", "/v1/search", fields={"image": ("a.jpg", image), "filter": json.dumps(asked)}
    ).json()

    numbers = [
        {hit["metadata"]["number"] for hit in answer["hits"]} for answer in (liked, address, form)
    ]
    assert [{1, 2, 3} - {first["metadata"]["number"]}, {1, 2, 3}, {1, 2, 3}] == numbers


def test_answers_of_different_filters_are_kept_apart(services: Cluster) -> None:
    """Also of 1 and true, which are equal in Python."""
    for _ in range(3):
        assert {1} == found(services, {"field": "number", "eq": 1}, text="apart")
        assert set() == found(services, {"field": "number", "eq": True}, text="apart")
        assert {2} == found(services, {"field": "number", "eq": 2}, text="apart")


def test_queries_of_different_filters_at_once_do_not_cross(services: Cluster) -> None:
    """They are sent to search servers in batches of one filter."""
    with ThreadPoolExecutor(16) as pool:
        numbers = [n % IMAGES for n in range(200)]
        results = pool.map(
            lambda n: found(services, {"field": "number", "eq": n}, text=f"cross {n}"), numbers
        )
        assert [{n} for n in numbers] == list(results)


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (
            {"field": "colour", "eq": 1},
            "unknown_field",
            "no image has a field 'colour'",
        ),
        ({"field": "number"}, "bad_filter", "`filter`: give one of eq"),
        (
            {"or": [{"field": "number", "eq": 1}, {"eq": 1}]},
            "bad_filter",
            "`filter.or[1]`",
        ),
        ({"field": "number", "gte": 2**70}, "bad_filter", "a whole number is not within"),
        ({"fields": "number", "eq": 1}, "bad_request", "unknown field `fields`"),
        ("number=1", "bad_request", "filter"),
        ([], "bad_request", "filter"),
        ({"field": "number", "eq": None}, "bad_filter", "give one of eq"),
        ({"field": "number", "eq": {"a": 1}}, "bad_request", "filter"),
    ],
)
def test_what_is_no_filter_is_refused(services: Cluster, asked: Any, code: str, told: str) -> None:
    """400 with the place in one line; as JSON in an address, too."""
    body = {"text": "red", "filter": asked}
    by_json = services.front.request("POST", "/v1/search", json=body)
    by_address = services.front.request(
        "GET", "/v1/search", fields={"text": "red", "filter": json.dumps(asked)}
    )
    for reply in (by_json, by_address):
        assert (400, code) == (reply.status, reply.json()["code"]), reply.json()
    assert told in by_json.json()["detail"]


def test_the_fields_are_told(services: Cluster) -> None:
    """By /v1/info, each with its kinds."""
    fields = services.front.get("/v1/info")["fields"]
    assert {
        "album": ["text"],
        "folder": ["text"],
        "format": ["text"],
        "modified": ["text"],
        "number": ["number"],
        "offline": ["boolean"],
        "path": ["text"],
        "size": ["number"],
        "when": ["text"],
    } == fields
