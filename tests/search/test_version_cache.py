"""The folders of a search server as a cache: what is fetched, what is kept, what is said."""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from msgspec.structs import replace

from common.errors import Unavailable
from common.files import LOCK
from devtools.services import wait_until
from search.index_versions import TRY_AGAIN_S, IndexVersions
from search.manifest import read_current
from search.object_store import ObjectStore, StoreError
from search.segment_files import File
from search.stored_versions import FILES, MANIFESTS, manifest_name
from tests.search.published import Published
from tests.unit.indexing import folders_in


@pytest.fixture
def published(tmp_path: Path) -> Published:
    """Version 1."""
    storage = Published(tmp_path)
    storage.publish(1)
    return storage


def version_of(server: IndexVersions) -> str:
    return server.newest().manifest.version


def test_an_empty_disk_gets_the_files_of_its_shards(published: Published) -> None:
    """And no others; CURRENT is noted beside them."""
    server = published.server()
    server.refresh()

    assert list(server.newest().shards) == [1]
    assert published.is_on_disk(server.newest().manifest)
    assert read_current(published.folders) == read_current(published.ours)


def test_a_new_version_comes_and_old_ones_go(published: Published) -> None:
    """What is on the disk of the one before stays."""
    server = published.server()
    server.refresh()
    second = published.publish(2)
    server.refresh()
    third = published.publish(3)
    server.refresh()

    assert version_of(server) == "v000003"
    assert published.is_on_disk(second, third)


def test_a_server_that_may_not_load_fetches_nothing(published: Published) -> None:
    """So the replicas of an entry fetch one after the other, too."""
    turns = iter([False, True])
    server = published.server(may_load=lambda _current: next(turns))
    server.refresh()
    first = server.newest().manifest
    second = published.publish(2)
    server.refresh()
    assert published.is_on_disk(first)
    server.refresh()

    assert published.is_on_disk(first, second)


def test_without_the_storage_it_goes_on_and_says_so(published: Published) -> None:
    """It is no refusal of a version; what comes meanwhile is taken later."""
    server = published.server()
    server.refresh()
    published.root.rename(published.root.with_name("away"))
    published.root.write_text("not a folder")
    server.refresh()
    assert version_of(server) == "v000001"
    assert published.url in server.store_error
    assert server.refusal is None

    published.root.unlink()
    published.root.with_name("away").rename(published.root)
    published.publish(2)
    server.refresh()
    assert version_of(server) == "v000002"
    assert server.store_error == ""


def test_what_is_whole_on_the_disk_answers_at_once(published: Published) -> None:
    """Without the storage. If a file is not there, it is not begun with."""
    published.server().refresh()
    published.root.rename(published.root.with_name("away"))
    assert version_of(published.server()) == "v000001"

    next(published.folders.hashes.rglob("*.keys")).unlink()
    with pytest.raises(Unavailable):
        published.server().newest()


def test_a_file_that_is_damaged_on_the_disk_is_fetched_anew(published: Published) -> None:
    """Where there is no other to be had the version is refused."""
    published.server().refresh()
    for path in published.folders.paths.rglob("*.records"):
        path.write_bytes(bytes(path.stat().st_size))
    server = published.server()
    server.refresh()
    assert version_of(server) == "v000001"

    next(published.folders.paths.rglob("*.records")).write_bytes(b"x")
    (published.root / FILES).rename(published.root / "elsewhere")
    other = published.server()
    other.refresh()
    assert other.refusal is not None
    assert "there is no such object" in other.refusal.reason


def test_a_version_that_is_damaged_in_the_storage_is_refused(published: Published) -> None:
    """A server with an empty disk takes the one before; all look again after a minute."""
    running = published.server()
    running.refresh()
    manifest = published.publish(2)
    spoilt = published.object(".hnsw", manifest)
    good = spoilt.read_bytes()
    spoilt.write_bytes(bytes(len(good)))
    running.refresh()
    assert running.refusal is not None
    assert "is not what was written" in running.refusal.reason
    published.folders = folders_in(published.root.parent)
    fresh = published.server()
    fresh.refresh()
    assert version_of(fresh) == "v000001"

    spoilt.write_bytes(good)
    published.clock.advance(TRY_AGAIN_S + 1)
    for server in (running, fresh):
        server.refresh()
        assert version_of(server) == "v000002"


def test_of_two_versions_with_one_name_the_right_one_is_loaded(published: Published) -> None:
    """Two machines may make a version each; both are whole in the storage."""
    server = published.server()
    server.refresh()
    published.publish(1, inputs="others")
    server.refresh()

    assert server.newest().manifest.inputs == "others"


def test_a_version_of_another_model_is_no_damage(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are as they were written: reading them all again, once a minute, helps nobody.

    A restart takes it, as without a storage: the model has changed.
    """
    server = published.server()
    server.refresh()
    version = server.newest()
    version.manifest = replace(version.manifest, space="other")
    published.publish(2)
    monkeypatch.setattr("search.version_cache._is_whole", pytest.fail)
    server.refresh()

    assert server.refusal is not None
    assert "of another model" in server.refusal.reason
    assert version_of(server) == "v000001"
    assert version_of(published.server()) == "v000002"


def test_two_servers_of_a_machine_do_not_fetch_into_the_same_folders(published: Published) -> None:
    """Nor does one while prepare writes there. It tries again at its next look."""
    server = published.server()
    with FileLock(published.folders.index / LOCK):
        server.refresh()
    assert "another process writes into" in server.store_error
    server.refresh()

    assert version_of(server) == "v000001"


def test_a_manifest_of_another_version_is_refused(published: Published) -> None:
    """As where somebody renamed it."""
    manifest = published.publish(2)
    first = next((published.root / MANIFESTS).glob("v000001-*"))
    first.replace(published.root / MANIFESTS / manifest_name(manifest.named))
    server = published.server()
    server.refresh()

    assert server.refusal is not None
    assert "of another version" in server.refusal.reason


def test_the_first_file_that_fails_stops_the_others(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wait for a thread, too: each would wait for the storage anew."""
    asked: list[str] = []

    def fetch(
        _store: ObjectStore, key: str, _file: File, _folder: Path, is_stopped: Callable[[], bool]
    ) -> None:
        asked.append(key)
        if len(asked) > 1:
            wait_until(is_stopped)
        raise StoreError("no answer")

    monkeypatch.setattr(ObjectStore, "fetch", fetch)
    monkeypatch.setattr("search.version_cache.FETCHES", 1)
    server = published.server()
    asked.clear()
    server.refresh()

    assert server.store_error == "no answer"
    assert len(asked) < 3


def test_a_server_that_ends_stops_fetching(published: Published) -> None:
    """Before the next block; nothing is in place then."""
    server = published.server()
    server._closed.set()
    server.refresh()

    assert server.store_error.endswith(": stopped")
    assert not list(published.folders.index.glob("v000001/shard*.hnsw"))
