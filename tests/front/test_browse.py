"""Browsing the collection, newest first, and the values of its fields, through all services."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import Cluster, cluster
from tests.front.front_client import assert_problem, in_base64
from tests.front.pictures import encoded

IMAGES = 30
HOUR_NS = 3600 * 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of config.json."""
    return tmp_path_factory.mktemp("browse")


@pytest.fixture(scope="module")
def services(folder: Path) -> Iterator[Cluster]:
    """Image n was changed n hours after 1970 began; a photo was taken later than all."""
    collection = Collection(folder, IMAGES, 3)
    for n in range(IMAGES):
        touch(folder, n)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2031:02:03 04:05:06"
    exif[0x0110] = "Box Brownie"
    (folder / "images/photo.jpg").write_bytes(encoded(Image.new("RGB", (9, 9)), "JPEG", exif=exif))
    collection.prepare()
    with cluster(collection.config, 2, folder) as running:
        yield running


def touch(folder: Path, n: int) -> None:
    """Say of an image that it was changed in the hour of its number, two images at a time."""
    os.utime(folder / f"images/{n:04}.png", ns=(n // 2 * HOUR_NS,) * 2)


def prepare(services: Cluster, folder: Path) -> None:
    done = run_forked("prepare/prepare.py", services.config, "--accept-loss", cwd=folder)
    assert 0 == done.returncode, done.stderr


def pages(services: Cluster, cursor: str | None = None, **fields: Any) -> Iterator[dict[str, Any]]:
    """All pages, from a cursor on."""
    while True:
        asked = {**fields, "cursor": cursor} if cursor else fields
        page = services.front.request("GET", "/v1/images", fields=asked).json()
        yield page
        if (cursor := page["next"]) is None:
            return


def paths(*given: dict[str, Any]) -> list[str]:
    return [image["path"] for page in given for image in page["images"]]


def test_all_images_are_listed_newest_first(services: Cluster) -> None:
    """In pages; each has what its file tells, and its thumbnail is there."""
    found = list(pages(services, limit=7))
    images = [image for page in found for image in page["images"]]

    assert [7, 7, 7, 7, 3] == [len(page["images"]) for page in found]
    assert "images/photo.jpg" == images[0]["path"]
    assert {"size", "modified", "taken", "camera"} == images[0]["facts"].keys()
    assert ("2031-02-03T04:05:06", "Box Brownie") == (
        images[0]["facts"]["taken"],
        images[0]["facts"]["camera"],
    )
    keys = [(image["facts"]["modified"], image["id"]) for image in images[1:]]
    assert keys == sorted(
        sorted(keys, key=lambda key: key[1]), key=lambda key: key[0], reverse=True
    )
    assert IMAGES == len(set(keys))
    assert 200 == services.front.request("GET", images[0]["thumbnail"]).status
    assert {"total": 3, "ok": 3, "timeout": 0, "failed": 0} == found[0]["coverage"]["shards"]


def test_only_images_that_pass_are_listed(services: Cluster) -> None:
    """On every page."""
    asked = json.dumps({"field": "when", "gte": "1970-01-01T03", "lt": "1970-01-01T06"})
    found = list(pages(services, limit=4, filter=asked))
    numbers = [int(path[7:11]) for path in paths(*found)]

    assert [4, 2] == [len(page["images"]) for page in found]
    assert [(n // 2) for n in numbers] == [5, 5, 4, 4, 3, 3]
    assert [] == paths(*pages(services, filter='{"field": "camera", "eq": "none"}'))


def test_images_that_stay_are_listed_once_while_others_come_and_go(
    services: Cluster, folder: Path
) -> None:
    """Also when the image goes that the cursor names; a new version has them."""
    before = services.front.get("/v1/images?limit=100")
    page = services.front.get("/v1/images?limit=9")
    gone = [page["images"][-1]["path"], *paths(before)[20:23], paths(before)[2]]
    kept = {path: (folder / path).read_bytes() for path in gone}
    for path in gone:
        (folder / path).unlink()
    extra = range(100, 110)
    for n in extra:
        Image.new("RGB", (9, 9), (n, 2 * n, 3)).save(folder / f"images/{n:04}.png")
        os.utime(folder / f"images/{n:04}.png", ns=((n - 100) * 2 * HOUR_NS,) * 2)
    prepare(services, folder)

    rest = paths(*pages(services, cursor=page["next"], limit=4))

    stayed = [path for path in paths(before) if path not in gone]
    assert stayed == [path for path in [*paths(page), *rest] if path in stayed]
    assert set(gone).isdisjoint(rest)
    assert {f"images/{n:04}.png" for n in range(100, 106)} <= set(rest)
    for path, data in kept.items():
        (folder / path).write_bytes(data)
        touch(folder, int(path[7:11]))
    for n in extra:
        (folder / f"images/{n:04}.png").unlink()
    prepare(services, folder)


def test_values_are_counted(services: Cluster) -> None:
    """Of all images, or of those that pass; of a field with many values, how many more."""
    answer = services.front.get("/v1/facets?field=format&field=folder&field=camera&field=path")

    assert IMAGES + 1 == answer["images"]
    facets = answer["facets"]
    assert {"values": [{"value": "png", "count": 30}, {"value": "jpg", "count": 1}], "more": 0} == (
        facets["format"]
    )
    assert [{"value": "images", "count": 31}] == facets["folder"]["values"]
    assert [{"value": "Box Brownie", "count": 1}] == facets["camera"]["values"]
    assert (31, 0) == (len(facets["path"]["values"]), facets["path"]["more"])

    asked = {"field": "format", "filter": '{"field": "path", "prefix": "images/000"}'}
    answer = services.front.request("GET", "/v1/facets", fields=asked).json()
    assert (10, [{"value": "png", "count": 10}]) == (
        answer["images"],
        answer["facets"]["format"]["values"],
    )


def test_a_search_brings_counts_along(services: Cluster) -> None:
    """Those of the route, whatever is found: in JSON, in an address, in a form; also if kept."""
    front, fields = services.front, ["format", "camera"]
    passing = {"not": {"field": "path", "prefix": "images/000"}}
    address = [("field", name) for name in fields] + [("filter", json.dumps(passing))]
    expected = front.get("/v1/facets?" + urlencode(address))["facets"]
    assert 20 == expected["format"]["values"][0]["count"]
    query = {"text": "red", "k": 1, "filter": passing, "facets": fields}
    texts = [("text", "red"), ("k", "1"), ("filter", json.dumps(passing))]
    texts += [("facets", name) for name in fields]
    answers = [
        front.post("/v1/search", query),
        front.post("/v1/search", query),
        front.get("/v1/search?" + urlencode(texts)),
        front.request("POST", "/v1/search", fields=texts).json(),
        services.middle.post("/search", query),
    ]
    assert [expected] * 5 == [answer["facets"] for answer in answers]
    assert [1] * 5 == [len(answer["hits"]) for answer in answers]
    assert "facets" not in front.post("/v1/search", {"text": "red"})


def test_a_write_is_listed_and_counted_for_whoever_waits_for_it(services: Cluster) -> None:
    """A put, a change and a deletion, each with its `min_position`."""
    front = services.front
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2099:01:01 00:00:00"
    data = encoded(Image.new("RGB", (8, 8), "blue"), "JPEG", exif=exif)

    def first(position: int) -> dict[str, Any]:
        page = front.get(f"/v1/images?limit=1&min_position={position}")
        assert position <= page["position"]
        (image,) = page["images"]
        return dict(image)

    put = front.request("POST", "/v1/images", json={"image": in_base64(data)}).json()
    assert (put["id"], "2099-01-01T00:00:00") == (
        (image := first(put["position"]))["id"],
        image["facts"]["taken"],
    )
    path = f"/v1/images/{put['id']}"
    changed = front.request("PATCH", path, json={"metadata": {"album": "zoo"}}).json()
    counts = front.get(f"/v1/facets?field=album&min_position={changed['position']}")
    assert [{"value": "zoo", "count": 1}] == counts["facets"]["album"]["values"]
    assert changed["position"] <= counts["position"]
    asked = {"text": "red", "facets": ["album"], "min_position": changed["position"]}
    assert counts["facets"] == front.post("/v1/search", asked)["facets"]
    gone = front.request("DELETE", path).json()
    assert "images/photo.jpg" == first(gone["position"])["path"]
    assert 400 == front.request("GET", "/v1/images?min_position=9999").status


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/images?cursor=none", "bad_cursor"),
        ("/v1/images?limit=0", "bad_request"),
        ("/v1/images?limit=101", "bad_request"),
        ("/v1/images?limit=1e1", "bad_request"),
        ("/v1/images?limit=1&limit=2", "bad_request"),
        ("/v1/images?text=a", "bad_request"),
        ('/v1/images?filter={"field":"none","eq":1}', "unknown_field"),
        ('/v1/images?filter={"field":"path"}', "bad_filter"),
        ("/v1/images?filter=path", "bad_request"),
        ("/v1/facets", "bad_request"),
        ("/v1/facets?field=none", "unknown_field"),
        ("/v1/facets?" + "&".join(["field=path"] * 9), "bad_request"),
        ('/v1/facets?field=path&filter={"field":"none","eq":1}', "unknown_field"),
        ("/v1/search?text=red&facets=format&facets=none", "unknown_field"),
        ("/v1/search?text=red&facets=", "unknown_field"),
        ("/v1/search?text=red" + 9 * "&facets=path", "bad_request"),
        ("/v1/images?facets=path", "bad_request"),
    ],
)
def test_what_is_wrong_is_refused(services: Cluster, path: str, code: str) -> None:
    """With a code."""
    assert_problem(services.front.request("GET", path), 400, code)


def test_a_dead_server_is_told(services: Cluster) -> None:
    """The others' images are listed and counted; last, as it stays dead."""
    services.search[1].kill()

    page = services.front.get("/v1/images?limit=100")
    answer = services.front.get("/v1/facets?field=format")

    assert page["coverage"]["degraded"]
    assert 0 < len(page["images"]) < IMAGES
    assert len(page["images"]) == answer["images"]
