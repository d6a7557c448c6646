"""Writes while servers die or hang, or the log is away: what was acknowledged is there."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from devtools.collection import Collection
from devtools.services import (
    Cluster,
    Service,
    cluster,
    kill_with_workers,
    running,
    wait_until,
    with_section,
)
from tests.front.front_client import Reply, assert_problem
from tests.front.live import delete, files, hits, patch, png, put, written


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A few images in two shards."""
    return Collection(tmp_path_factory.mktemp("faults"), images=12, shards=2)


@pytest.fixture(scope="module")
def live(collection: Collection) -> Iterator[Cluster]:
    """All services over them."""
    with cluster(collection.config, 1, collection.folder) as services:
        yield services


@contextmanager
def two_middles(live: Cluster, folder: Path) -> Iterator[tuple[Service, Service, Service]]:
    """A front, and two middles of its own behind it."""
    config = with_section(live.config, "Middle", port=0)
    with (
        running("middle/middle.py", config, cwd=folder) as one,
        running("middle/middle.py", config, cwd=folder) as other,
    ):
        listed = with_section(config, "Middle", server_list=[one.address, other.address])
        listed = with_section(listed, "Front", port=0)
        with running("front/front.py", listed, cwd=folder) as front:
            yield front, one, other


def test_a_write_through_either_middle_is_seen_through_both(
    live: Cluster, collection: Collection
) -> None:
    """By its position; files and deletions at once, whichever middle is asked."""
    with two_middles(live, collection.folder) as (front, *middles):
        for seed in range(30):
            image_id, position = written(put(front, png(seed)), 201)
            assert [200] * 3 == [reply.status for reply in files(front, image_id)]
            for middle in middles:
                assert image_id in hits(middle, text="red", min_position=position)
            _, position = written(delete(front, image_id))
            assert [404] * 3 == [reply.status for reply in files(front, image_id)]
            for middle in middles:
                assert image_id not in hits(middle, text="red", min_position=position)


def test_what_was_acknowledged_is_there_though_middle_dies(
    live: Cluster, collection: Collection
) -> None:
    """SIGKILL amid many puts; those that were not acknowledged are put again without harm."""
    images = [png(seed) for seed in range(1000, 1600)]
    bodies = [{"image": base64.b64encode(image).decode()} for image in images]
    with two_middles(live, collection.folder) as (front, one, _):
        replies: list[Reply] = []

        def send() -> None:
            replies.append(front.request("POST", "/v1/images", json={"images": bodies}))

        sending = threading.Thread(target=send)
        sending.start()
        wait_until(lambda: live.middle.get("/info")["images"] > 30)
        kill_with_workers(one)
        sending.join()
        results = replies[0].json()["results"]
        acknowledged = [result["id"] for result in results if "id" in result]
        assert 10 < len(acknowledged) < len(images)
        position = max(result.get("position", 0) for result in results)
        found = hits(live.middle, text="red", k=1000, min_position=position)
        assert set(acknowledged) <= set(found)

        again = front.request("POST", "/v1/images", json={"images": bodies}).json()["results"]
        ids = [result.get("id") for result in again]
        assert None not in ids
        assert set(acknowledged) <= set(ids)
        removed = front.request("POST", "/v1/images/delete", json={"ids": ids}).json()["results"]
        assert ids == [result.get("id") for result in removed]
        position = max(result["position"] for result in removed)
        assert not set(ids) & set(hits(live.middle, text="red", k=1000, min_position=position))


@contextmanager
def without_log(folder: Path, *, blocked: bool) -> Iterator[None]:
    """The file of the log is away; where it is `blocked`, nothing can be made in its place."""
    log, away = folder / "data/log.sqlite", folder / "data/away"
    away.mkdir()
    parts = list(log.parent.glob("log.sqlite*"))
    for part in parts:
        part.rename(away / part.name)
    if blocked:
        log.mkdir()
    yield
    if blocked:
        log.rmdir()
    assert not log.exists(), "another log was made"
    for part in parts:
        (away / part.name).rename(part)
    away.rmdir()


def knows_the_index(middle: Service) -> bool:
    """Whether a middle has heard of the search servers."""
    reply = middle.request("POST", "/search", json={"text": "red"})
    return reply.headers["X-Cache"] != "bypass"


@pytest.mark.parametrize("blocked", [True, False])
def test_without_the_log_nothing_is_written_and_searches_go_on(
    live: Cluster, collection: Collection, blocked: bool
) -> None:
    """503 `log_unavailable`, also where another log could be made; back again it has all."""
    image_id, position = written(put(live.front, png(1), stock=1), 201)
    hits(live.front, text="red", min_position=position)
    with two_middles(live, collection.folder) as (front, *middles):
        for middle in middles:
            wait_until(partial(knows_the_index, middle))
        with without_log(collection.folder, blocked=blocked):
            writes = put(front, png(2)), patch(front, image_id, stock=0), delete(front, image_id)
            for reply in writes:
                assert_problem(reply, 503, "log_unavailable")
                assert "Retry-After" in reply.headers
            assert image_id in hits(front, text="red")
            assert image_id in hits(front, text="red blue", min_position=position)
            assert [200] * 3 == [reply.status for reply in files(front, image_id)]
        other, position = written(put(front, png(2)), 201)
        assert {image_id, other} <= set(hits(front, text="red", min_position=position))


def test_without_a_log_in_the_settings_nothing_is_written(
    live: Cluster, collection: Collection
) -> None:
    """501 `no_log`, and no file is kept."""
    config = {**with_section(live.config, "Middle", port=0), "Live": {"log": None}}
    before = sorted((collection.folder / "data/uploads").glob("*"))
    with running("middle/middle.py", config, cwd=collection.folder) as middle:
        config = with_section(config, "Middle", port=middle.port)
        with running("front/front.py", with_section(config, "Front", port=0)) as front:
            for reply in (put(front, png(3)), patch(front, "0" * 32), delete(front, "0" * 32)):
                assert_problem(reply, 501, "no_log")
    assert before == sorted((collection.folder / "data/uploads").glob("*"))


def test_a_full_delta_takes_no_put_and_every_deletion(
    live: Cluster, collection: Collection
) -> None:
    """503 `live_full`, once middle has heard of it."""
    config = with_section(live.config, "Middle", port=0)
    config = with_section(config, "Live", max_delta=1)
    image_id, _ = written(put(live.front, png(5)), 201)
    written(put(live.front, png(6)), 201)
    with running("middle/middle.py", config, cwd=collection.folder) as middle:
        config = with_section(config, "Middle", port=middle.port)
        with running("front/front.py", with_section(config, "Front", port=0)) as front:
            wait_until(lambda: 201 != put(front, png(7)).status)
            assert_problem(put(front, png(8)), 503, "live_full")
            written(delete(front, image_id))
