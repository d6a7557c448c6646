"""Objects in S3 and in a folder: fetched whole in spite of all, replaced by one writer alone."""

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError, MissingPackage
from devtools.fault_proxy import GOOD, Fault
from search import object_store
from search.manifest import BadIndex
from search.object_store import PART, Content, NoObject, ObjectChanged, ObjectStore, StoreError
from search.segment_files import File
from tests.object_storage import Storage, object_storage

SIZE, BLOCK = 2_000_000, 100_000
DATA = np.random.default_rng(0).bytes(SIZE)
FILE = File("shard-000.hnsw", SIZE, hashlib.sha256(DATA).hexdigest())
KEY = f"files/{FILE.sha256}"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """An S3 server."""
    with object_storage(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture
def s3(storage: Storage, request: pytest.FixtureRequest) -> ObjectStore:
    """A part of its own for each test, asked for small blocks."""
    storage.proxy.fault = GOOD
    return ObjectStore(storage.url(request.node.name))


@pytest.fixture(params=["s3", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Both kinds of storage."""
    if request.param == "file":
        return ObjectStore(f"file://{tmp_path}/store")
    found: ObjectStore = request.getfixturevalue("s3")
    return found


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_back_as_it_was(store: ObjectStore, disk: Path, tmp_path: Path) -> None:
    """From memory or from a file; it is listed with its size, and deleted."""
    (tmp_path / "written").write_bytes(DATA)
    store.write(KEY, tmp_path / "written")
    store.write("other/empty", b"")
    store.fetch(KEY, FILE, disk)

    assert (disk / FILE.name).read_bytes() == DATA
    assert names(disk) == [FILE.name]
    assert {FILE.sha256: SIZE} == {k: v.size_bytes for k, v in store.names("files").items()}
    store.delete([KEY])
    assert store.names("files") == {}
    with pytest.raises(BadIndex, match="there is no such object"):
        store.fetch(KEY, FILE, disk)


def test_a_fetch_goes_on_where_another_stopped(
    store: ObjectStore, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is not asked for again: by then it is lost in the storage."""
    store.write(KEY, DATA)
    monkeypatch.setattr(object_store, "BLOCK_BYTES", BLOCK)
    looks = iter([False, False, True])
    with pytest.raises(StoreError, match="stopped"):
        store.fetch(KEY, FILE, disk, lambda: next(looks))
    monkeypatch.undo()
    got = (disk / (FILE.name + PART)).stat().st_size
    store.write(KEY, bytes(got) + DATA[got:])
    store.fetch(KEY, FILE, disk)

    assert got >= 2 * BLOCK
    assert (disk / FILE.name).read_bytes() == DATA


def test_connections_that_are_cut_cost_nothing(
    s3: ObjectStore, storage: Storage, disk: Path
) -> None:
    """The rest is asked for anew."""
    s3.write(KEY, DATA)
    storage.proxy.fault = Fault(close_after=SIZE // 2)
    s3.fetch(KEY, FILE, disk)

    assert (disk / FILE.name).read_bytes() == DATA


def test_a_flipped_byte_is_fetched_anew(store: ObjectStore, disk: Path) -> None:
    """Where it is in what an earlier fetch left; in the storage itself it is refused."""
    store.write(KEY, DATA)
    spoilt = bytes([DATA[0] ^ 1]) + DATA[1:]
    (disk / (FILE.name + PART)).write_bytes(spoilt[: 5 * BLOCK])
    store.fetch(KEY, FILE, disk)
    assert (disk / FILE.name).read_bytes() == DATA

    store.write(KEY, spoilt)
    (disk / FILE.name).unlink()
    with pytest.raises(BadIndex, match=rf"{KEY}: .*hnsw is not what was written"):
        store.fetch(KEY, FILE, disk)
    assert names(disk) == []


def test_of_two_writers_one_wins(store: ObjectStore) -> None:
    """The other is told, whether there was an object or not; what it reads then is the winner's."""
    first = store.replace("CURRENT", b"1", None)
    with pytest.raises(ObjectChanged, match="another writer was first"):
        store.replace("CURRENT", b"2", None)
    second = store.replace("CURRENT", b"3", first)
    with pytest.raises(ObjectChanged):
        store.replace("CURRENT", b"4", first)

    assert store.read("CURRENT") == second
    assert store.read("CURRENT", second) is second
    assert store.read("CURRENT", first).data == b"3"


def test_a_reply_that_was_lost_is_no_other_writer(store: ObjectStore) -> None:
    """The client asks again and is refused; but what is there is what it wrote."""
    first = store.replace("CURRENT", b"1", None)
    second = store.replace("CURRENT", b"2", first)

    assert store.replace("CURRENT", b"2", first) == second


def test_a_storage_that_is_away_is_told_in_one_line(s3: ObjectStore, storage: Storage) -> None:
    """With its address, and without what obstore tells its developers."""
    storage.proxy.fault = Fault(refuse=True)
    with pytest.raises(StoreError, match=f"{s3.url}/CURRENT: .*error sending request") as told:
        s3.read("CURRENT")

    assert "\n" not in str(told.value)
    storage.proxy.fault = GOOD
    with pytest.raises(NoObject):
        s3.read("CURRENT")


def test_a_bucket_that_is_not_there_is_named(storage: Storage) -> None:
    """By the code that S3 gives; so it is for a key that is not allowed."""
    with pytest.raises(StoreError, match=r"404 Not Found: NoSuchBucket"):
        ObjectStore("s3://other").replace("CURRENT", b"1", Content(b"", '"etag"'))


def test_a_url_without_a_bucket_stops_the_start() -> None:
    """The key of the configuration is named."""
    with pytest.raises(ConfigError, match=r"Prepare\.index-url"):
        ObjectStore("s3://")


def test_a_missing_package_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "search.object_store")
    with pytest.raises(
        MissingPackage, match=r"index-url needs: pip install -r requirements-s3\.txt"
    ):
        importlib.import_module("search.object_store")
