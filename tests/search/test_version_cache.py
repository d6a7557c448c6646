"""The folders of a search server as a cache: what is fetched, what is kept, what is said."""

from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from common.errors import Unavailable
from common.files import LOCK
from devtools.fake_clock import FakeClock
from prepare.publishing import begin_publishing
from prepare.versions import put_in_use
from search.index_versions import TRY_AGAIN_S, IndexVersions, MayLoad, at_once
from search.manifest import (
    CURRENT,
    MANIFEST,
    Manifest,
    files_of,
    read_current,
)
from search.object_store import ObjectStore
from search.stored_versions import FILES, MANIFESTS, manifest_name
from search.version_cache import VersionCache
from tests.unit.indexing import folders_in, write_version

VECTORS = np.eye(8, dtype=np.float32)


def shard_1(_count: int) -> list[int]:
    """The shards of the server."""
    return [1]


class Published:
    """Versions in a storage that is a folder, and the empty disk of a server of shard 1."""

    def __init__(self, root: Path) -> None:
        self.url, self.root = f"file://{root}/store", root / "store"
        for name in ("prepare", "server"):
            (root / name).mkdir()
        self.ours = folders_in(root / "prepare")
        self.folders = folders_in(root / "server")
        self.clock = FakeClock()

    def publish(self, number: int, inputs: str = "") -> Manifest:
        """Write a version of two shards and put it in use."""
        vectors = np.roll(VECTORS, number, axis=1)
        manifest = write_version(self.ours, f"v{number:06}", vectors, (0, 1), inputs)
        publisher = begin_publishing(self.url, self.ours)
        assert publisher
        publisher.upload(manifest)
        put_in_use(self.ours, manifest.named, 2, publisher.publish)
        return manifest

    def cache(self) -> VersionCache:
        """A cache over what is on the disk."""
        return VersionCache(self.folders, ObjectStore(self.url), shard_1, keep=2)

    def server(self, may_load: MayLoad = at_once) -> IndexVersions:
        """The versions of a server that has looked at its disk, with no thread."""
        server = IndexVersions(self.folders, shard_1, 1.0, self.clock, may_load, self.cache())
        server.refresh()
        return server

    def is_on_disk(self, *manifests: Manifest) -> bool:
        """Whether the server's disk has its shard of some versions, and nothing else."""
        files = [
            folder / file.name
            for manifest in manifests
            for folder, file in files_of(self.folders, manifest, [1])
        ]
        files += [self.folders.index / manifest.version / MANIFEST for manifest in manifests]
        files.append(self.folders.index / CURRENT)
        found = {path for path in self.folders.index.parent.rglob("*") if path.is_file()}
        return set(files) == {path for path in found if path.name != LOCK}

    def object(self, ending: str, manifest: Manifest) -> Path:
        """The object of a file of the server's shard."""
        files = (file for _, file in files_of(self.ours, manifest, [1]))
        (file,) = (file for file in files if file.name.endswith(ending))
        return self.root / FILES / file.sha256


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


def test_a_server_that_ends_stops_fetching(published: Published) -> None:
    """Before the next block; nothing is in place then."""
    server = published.server()
    server._closed.set()
    server.refresh()

    assert server.store_error.endswith(": stopped")
    assert not list(published.folders.index.glob("v000001/shard*.hnsw"))
