"""Search servers beside a log of puts and deletes: what is put is found, what is deleted is not."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import metric, wait_until, with_section
from devtools.tiny_model import DIM
from search.manifest import MANIFEST, Current, VersionRef, write_current
from search.messages import LookupRequest, SearchReply
from tests.changes import delete, key, patch, put
from tests.chaos.damage import folders_of, reseal
from tests.redis_server import DURABLE, redis_server
from tests.search.live import ask, following, info, look_up, opened, paths, remove, search, vectors

SQLITE = "sqlite:data/log.sqlite"
VECTORS = vectors(20, DIM)
ALL = 1000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in two shards."""
    return Collection(tmp_path_factory.mktemp("made"), images=40, shards=2)


@pytest.fixture
def collection(made: Collection, tmp_path: Path) -> Collection:
    """A copy of it."""
    copied = copy.copy(made)
    copied.folder = tmp_path / "collection"
    shutil.copytree(made.folder, copied.folder)
    return copied


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the log is, as in config.json."""
    if request.param == "sqlite":
        yield SQLITE
        return
    with redis_server(tmp_path, options=DURABLE) as server:
        yield server.url


def test_two_replicas_answer_alike(collection: Collection, place: str) -> None:
    """As soon as they have the position that a query asks for: to puts, patches and deletes."""
    with following(collection, place, servers=2) as servers, opened(collection, place) as log:
        space, was = info(servers[0]).space, search(servers[0], VECTORS[0], ALL)
        for number in range(20):
            end = log.append([put(number, VECTORS[number], space, year=number)])
            one, other = (search(server, VECTORS[number], ALL, end) for server in servers)
            assert one == other
            assert (f"{number}.jpg", end) == (paths(one)[0], one.position)
        indexed = was.shards[1].hits[0].keys[:16]  # hidden in its segment
        log.append([patch(3, year=None, colour="red"), delete(4), delete(99)])
        end = log.append([replace(delete(0), key=indexed)])
        for server in servers:
            found = look_up(server, key(3), end)
            assert ({"colour": "red"}, end) == (found.record.metadata, found.position)
            assert VECTORS[3].tobytes() == found.vector
            for gone in (key(4), indexed):
                assert "unknown_id" == look_up(server, gone, end)["code"]
        one, other = (search(server, VECTORS[0], ALL) for server in servers)
        told = info(servers[0])

    assert one == other
    assert (0, 40) == (was.position, len(paths(was)))
    assert {f"{number}.jpg" for number in range(20) if number != 4} < set(paths(one))
    assert 58 == len(paths(one))
    assert (40, 18, 21, 3) == (told.images, told.live_change, told.delta_rows, told.tombstones)
    assert (["text"], ["number"]) == (told.fields["colour"], told.fields["year"])


def test_the_gauge_of_the_alert_tells_that_prepare_is_due(collection: Collection) -> None:
    """Here by what was deleted: half of the images."""
    with following(collection, SQLITE) as (server,), opened(collection, SQLITE) as log:
        (hits,) = search(server, VECTORS[0], ALL).shards[0].hits
        keys = [hits.keys[start : start + 16] for start in range(0, len(hits.keys), 24)]
        log.append([replace(delete(0), key=keys[0])])
        wait_until(lambda: metric(server, "tombstones") == 1)
        assert 0 == metric(server, "prepare_due")
        log.append([replace(delete(0), key=one) for one in keys[: len(keys) // 2]])
        wait_until(lambda: metric(server, "prepare_due") == 1)


def test_a_position_that_does_not_come_is_refused(collection: Collection) -> None:
    """Within the deadline, and the server says where it is."""
    with following(collection, SQLITE) as (server,), opened(collection, SQLITE) as log:
        log.append([delete(1)])
        search(server, VECTORS[0], 1, 1)
        message = LookupRequest(key(1)[:16].hex(), 2)
        problem = ask(server, "/lookup", message, deadline_ms=200)
        wait_until(lambda: 1 == metric(server, "log_position"))

    assert ("behind", 503) == (problem["code"], problem["status"])
    assert "up to 1, not 2" in problem["detail"]


def test_a_killed_server_replays_the_log(collection: Collection) -> None:
    """After SIGKILL it starts with all that was put, before it answers anything."""
    with opened(collection, SQLITE) as log:
        with following(collection, SQLITE) as (server,):
            space = info(server).space
            end = log.append([put(n, VECTORS[n], space) for n in range(10)] + [delete(3)])
            before = search(server, VECTORS[0], ALL, end)
            server.kill()
        end = log.append([delete(5)])
        with following(collection, SQLITE) as (server,):
            after = search(server, VECTORS[0], ALL)

    assert end == after.position
    assert set(paths(before)) - {"5.jpg"} == set(paths(after))


def test_without_its_log_a_server_does_not_start_to_answer(collection: Collection) -> None:
    """Else deleted images would come back. Once it runs, searches go on without the log."""
    with opened(collection, SQLITE) as log:
        with following(collection, SQLITE) as (server,):
            log.append([put(1, VECTORS[1], info(server).space)])
        name = log.id()
        in_version(collection, name, 0)
        with following(collection, SQLITE) as (server,):
            files = remove(collection.folder)
            wait_until(lambda: any("nothing new is found" in line for line in server.output))
            assert "1.jpg" == paths(search(server, VECTORS[1], 1))[0]
            assert 200 == server.request("GET", "/ready").status
        with following(collection, SQLITE) as (server,):
            ready = server.request("GET", "/ready")
            assert (503, True) == (ready.status, b"log of puts and deletes" in ready.data)
            assert 503 == server.request("GET", "/info").status
            for path, data in files.items():
                path.write_bytes(data)
            wait_until(lambda: 200 == server.request("GET", "/ready").status)
            assert "1.jpg" == paths(search(server, VECTORS[1], 1))[0]


def in_version(collection: Collection, log_id: str, position: int) -> None:
    """Make the version in use one that has the entries of a log up to a position."""
    folders = folders_of(collection.folder)
    path = folders.index / "v000001" / MANIFEST
    sha256 = reseal(path, {"log_id": log_id, "log_position": position})
    write_current(folders, Current(VersionRef("v000001", sha256)))


def test_another_log_is_not_followed(collection: Collection) -> None:
    """The server tells why, and answers from the version as it is."""
    in_version(collection, "another", 5)
    with opened(collection, SQLITE) as log:
        log.append([delete(1)] * 9)
    with following(collection, SQLITE) as (server,):
        told, found = info(server), search(server, VECTORS[0], ALL)

    assert "another log" in told.reason
    assert (5, 40) == (told.position, len(paths(found)))


def test_new_versions_and_rollbacks_keep_what_was_put(collection: Collection) -> None:
    """A version replays the log before it is used, so a put is never missing."""
    folder = collection.folder
    collection.config = with_section(collection.config, "Live", log=None)  # of prepare
    with following(collection, SQLITE) as (server,), opened(collection, SQLITE) as log:
        end = log.append([put(1, VECTORS[1], info(server).space)])
        collection.write_images(range(40, 45))
        collection.prepare()
        counts = {"v000001": 41, "v000002": 46}
        wait_until(lambda: is_right(search(server, VECTORS[1], ALL, end), counts, "v000002"))
        end = log.append([put(2, VECTORS[2], info(server).space)])
        assert 0 == run_forked("prepare/rollback.py", collection.config, cwd=folder).returncode
        counts = {"v000001": 42, "v000002": 47}
        wait_until(lambda: is_right(search(server, VECTORS[2], ALL, end), counts, "v000001"))


def is_right(reply: SearchReply, counts: dict[str, int], wanted: str) -> bool:
    """Whether an answer is from the wanted version; it has all images of its own."""
    assert counts[reply.version] == len(paths(reply))
    return reply.version == wanted


def test_a_vector_of_another_model_is_left_out(collection: Collection) -> None:
    """The server goes on, and counts it."""
    with following(collection, SQLITE) as (server,), opened(collection, SQLITE) as log:
        space = info(server).space
        end = log.append([put(1, VECTORS[1], "other"), put(2, VECTORS[2], space)])
        found = search(server, VECTORS[1], ALL, end)
        assert 1 == metric(server, "log_entries_refused_total")
        wait_until(lambda: 1 == metric(server, "delta_rows"))

    assert 41 == len(paths(found))


def test_without_a_log_nothing_is_followed(collection: Collection) -> None:
    """As Live.log null says."""
    with opened(collection, SQLITE) as log:
        log.append([delete(1)])
    with following(collection, None) as (server,):
        told = info(server)
    assert ("", 0, 0) == (told.log_id, told.position, told.delta_rows)
