"""Servers that hang, go back, move their shards or lack an index: answers stay honest."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from devtools.collection import Collection
from devtools.services import (
    Service,
    cluster,
    hanging,
    kill_with_workers,
    running,
    wait_until,
    with_section,
)

DEADLINE_MS = 500


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """40 images in four shards."""
    return Collection(tmp_path, images=40, shards=4)


def test_a_shard_that_hangs_costs_its_part_of_the_answer_only(collection: Collection) -> None:
    """At the deadline the answer is degraded, says timeout, also with copies; then all is well."""
    (collection.folder / "images/copy.png").write_bytes(
        (collection.folder / "images/0004.png").read_bytes()
    )
    collection.prepare()
    config = with_section(collection.config, "Middle", deadline_ms=1000)
    with cluster(config, 2, collection.folder, ["0,1", "2,3"]) as services:
        ids = [
            hit["id"] for hit in services.front.post("/v1/search", {"text": "a", "k": 9})["hits"]
        ]
        with hanging(services.search[0]):
            for dedup in ("none", "exact"):
                answer = services.front.post("/v1/search", {"text": "red", "k": 15, "dedup": dedup})
                expected = {"total": 4, "ok": 2, "timeout": 2, "failed": 0}
                assert expected == answer["coverage"]["shards"]
                assert 15 == len(answer["hits"])
            assert 41 == services.front.get("/v1/info")["images"]
            assert "ready" == services.front.get("/ready")["status"]
        whole = services.front.post("/v1/search", {"text": "a", "k": 9})
    assert not whole["coverage"]["degraded"]
    assert ids == [hit["id"] for hit in whole["hits"]]


def test_an_image_is_found_by_id_before_the_first_search(collection: Collection) -> None:
    """Wherever its shard lies: middle asks on where a server says that it does not hold it."""
    held = ["3,2", "1,0"]
    with cluster(collection.config, 2, collection.folder, held) as services:
        hits = services.front.post("/v1/search", {"text": "red", "k": 40})["hits"]
        config = services.config
        fresh = with_section(config, "Middle", port=0)
        with running("middle/middle.py", fresh, cwd=collection.folder) as middle:
            found = [middle.get(f"/images/{hit['id']}")["path"] for hit in hits]

    assert [hit["path"] for hit in hits] == found
    assert 40 == len(found)


def test_going_back_to_an_earlier_version_loses_no_answer(collection: Collection) -> None:
    """Servers that swap at different times, forth and back: every answer is full."""
    slow = with_section(collection.config, "Search", reload_s=1.5)
    quick = with_section(collection.config, "Search", reload_s=0.2)
    with cluster(quick, 1, collection.folder, ["0,1"]) as services:
        slow = with_section(slow, "Search", server_list=["127.0.0.1:0"])
        extra = ("--index", "2,3")
        with running("search/search.py", slow, *extra, cwd=collection.folder) as other:
            both = [services.search[0].address, other.address]
            config = with_section(services.config, "Search", server_list=both)
            config = with_section(config, "Middle", port=0, cache="off")
            with running("middle/middle.py", config, cwd=collection.folder) as middle:
                collection.write_images(range(40, 45))
                collection.prepare()
                until_full_of(middle, "v000002")
                for number in range(40, 45):
                    (collection.folder / f"images/{number:04}.png").unlink()
                assert "v000001" in collection.prepare()
                until_full_of(middle, "v000001")


def until_full_of(middle: Service, version: str) -> None:
    """Ask until a version answers; every answer on the way must be full."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        reply = middle.request("POST", "/search", json={"text": "red", "require_full": True})
        assert 200 == reply.status, reply.data
        if reply.json()["index_version"] == version:
            return
    raise AssertionError(f"{version} never answered")


def test_a_replica_that_cannot_answer_is_passed_over(collection: Collection) -> None:
    """One without an index, or one that is gone: its twin answers."""
    config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"])
    empty = with_section(config, "Prepare", index_dir="none")
    with (
        cluster(collection.config, 1, collection.folder) as services,
        running("search/search.py", empty, cwd=collection.folder) as bare,
    ):
        good = services.search[0].address
        for replicas in ([bare.address, good], ["127.0.0.1:1", good]):
            listed = with_section(services.config, "Search", server_list=[replicas])
            listed = with_section(listed, "Middle", port=0)
            with running("middle/middle.py", listed, cwd=collection.folder) as middle:
                assert 10 == len(middle.post("/search", {"text": "red"})["hits"])


def test_what_is_no_inference_server_is_not_the_client_s_fault(collection: Collection) -> None:
    """A wrong Inference.port, where something else answers: 503, not 400."""
    with cluster(collection.config, 1, collection.folder) as services:
        wrong = with_section(services.config, "Inference", port=services.front.port)
        wrong = with_section(wrong, "Middle", port=0)
        with running("middle/middle.py", wrong, cwd=collection.folder) as middle:
            reply = middle.request("POST", "/search", json={"text": "red"})
            by_id = middle.request("POST", "/search", json={"id": "0" * 32})

    assert 503 == reply.status, reply.data
    assert 404 == by_id.status


def test_a_middle_that_hangs_is_told_within_its_deadline(collection: Collection) -> None:
    """Kind J, row 23: 503 by the deadline and 100 ms, for a text, an upload, a picture."""
    config = with_section(collection.config, "Middle", deadline_ms=DEADLINE_MS)
    image = (collection.folder / "images/0001.png").read_bytes()
    with cluster(config, 1, collection.folder) as services:
        front = services.front
        requests = [
            partial(front.request, "POST", "/v1/search", json={"text": "red"}),
            partial(front.request, "POST", "/v1/search", fields={"image": ("a", image)}),
            partial(front.request, "GET", "/v1/info"),
        ]
        hit = front.post("/v1/search", {"text": "a"})["hits"][0]["id"]
        requests.append(partial(front.request, "GET", f"/v1/images/{hit}"))
        with hanging(services.middle):
            late_ms = [late(ask) for ask in requests * 3]
        wait_until(lambda: 200 == requests[0]().status)

    assert median(late_ms) < 100
    assert min(late_ms) > -100


def test_a_middle_that_dies_is_told_at_once(collection: Collection) -> None:
    """Kind J, row 23: without the only middle each answer is 503, long before the deadline."""
    with cluster(collection.config, 1, collection.folder) as services:
        front, config = services.front, services.config
        image = (collection.folder / "images/0001.png").read_bytes()
        whole = front.post("/v1/search", {"text": "red"})
        by_image = partial(front.request, "POST", "/v1/search", fields={"image": ("a", image)})
        text = partial(front.request, "POST", "/v1/search", json={"text": "green"})

        kill_with_workers(services.middle)
        for ask in (text, by_image, partial(front.request, "GET", "/v1/info")) * 3:
            since = time.monotonic()
            reply = ask()
            assert (503, "unavailable") == (reply.status, reply.json()["code"])
            assert time.monotonic() - since < 0.2
        assert 503 == front.request("GET", "/ready").status
        assert "alive" == front.get("/healthz")["status"]

        with running("middle/middle.py", config, cwd=collection.folder):
            wait_until(lambda: 200 == text().status)
            assert "ready" == front.get("/ready")["status"]
            again = front.request(
                "POST", "/v1/search", json={"text": "red"}, headers={"Cache-Control": "no-cache"}
            )
    assert whole["hits"] == again.json()["hits"]


def late(ask: Callable[[], Any]) -> float:
    """How much later than the deadline a 503 comes, in ms."""
    since = time.monotonic()
    assert 503 == ask().status
    return 1000 * (time.monotonic() - since) - DEADLINE_MS
