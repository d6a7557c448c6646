"""prepare and search servers with nothing in common but an object storage."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devtools.collection import Collection
from devtools.fault_proxy import GOOD, Fault
from devtools.services import Service, free_ports, running, wait_until, with_section
from devtools.vectors import unit
from prepare.publishing import begin_publishing
from prepare.versions import put_in_use
from search.manifest import Folders, files_of
from search.object_store import BLOCK_BYTES, PART, ObjectStore
from search.segment_files import File
from search.stored_versions import FILES
from tests.chaos.damage import ask, folders_of, info_of
from tests.object_storage import Storage, object_storage
from tests.unit.indexing import folders_in, write_version


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """An S3 server."""
    with object_storage(tmp_path_factory.mktemp("moto")) as started:
        yield started


def is_ready(service: Service) -> bool:
    return service.request("GET", "/ready").status == 200


def test_a_server_with_an_empty_disk_serves_and_follows(storage: Storage, tmp_path: Path) -> None:
    """prepare waits for it; with the storage away it goes on, and starts again from its disk."""
    disk, prepared = tmp_path / "disk", tmp_path / "prepared"
    disk.mkdir()
    prepared.mkdir()
    collection = Collection(prepared, images=40, shards=2, index_url=storage.url("images"))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    config = with_section(collection.config, "Search", server_list=[address], reload_s=0.1)
    with running("search/search.py", config, "--index", "1", cwd=disk) as service:
        wait_until(lambda: is_ready(service))
        assert [1] == info_of(service).shards
        collection.write_images(range(40, 60))
        collection.config = config
        collection.prepare()
        info = info_of(service)
        assert ("v000002", 60) == (info.version, info.images)
        first = ask(service)

        storage.proxy.fault = Fault(refuse=True)
        wait_until(lambda: "s3://versions/images/CURRENT" in info_of(service).reason)
        assert info_of(service).refused == ""
        assert ask(service) == first
        storage.proxy.fault = Fault(black_hole=True)
        before = storage.proxy.passed_bytes
        wait_until(lambda: storage.proxy.passed_bytes > before)  # it waits, and yet ends in time
    storage.proxy.fault = Fault(refuse=True)
    with running("search/search.py", config, "--index", "1", cwd=disk) as service:
        wait_until(lambda: is_ready(service))
        assert ask(service) == first
        storage.proxy.fault = GOOD
        wait_until(lambda: info_of(service).reason == "")
    assert 2 == len(list(disk.rglob("*.keys")))  # of the shard that it holds, of two versions


def test_a_server_that_is_killed_amid_a_file_goes_on_with_it(
    storage: Storage, tmp_path: Path
) -> None:
    """What it had is not asked for again: by then it is lost in the storage."""
    disk, folders = tmp_path / "disk", folders_in(tmp_path)
    disk.mkdir()
    url = storage.url("large")
    folder, file = publish_large(url, folders)
    config = {
        "Search": {"server-list": ["127.0.0.1:0"], "shards": 1, "reload-s": 0.1},
        "Prepare": {"index-url": url},
    }
    storage.proxy.fault = Fault(bytes_per_s=2 * BLOCK_BYTES)
    with running("search/search.py", config, cwd=disk) as service:
        wait_until(lambda: part_bytes(folders_of(disk)) >= BLOCK_BYTES)
        assert not is_ready(service)
        service.kill()
    storage.proxy.fault = GOOD
    got, data = part_bytes(folders_of(disk)), (folder / file.name).read_bytes()
    ObjectStore(url).write(f"{FILES}/{file.sha256}", bytes(got) + data[got:])
    with running("search/search.py", config, cwd=disk) as service:
        wait_until(lambda: is_ready(service))

    assert part_bytes(folders_of(disk)) == 0


def publish_large(url: str, folders: Folders) -> tuple[Path, File]:
    """Put a version with one file of several blocks in use; returns that file and its folder."""
    vectors = unit(np.random.default_rng(0).standard_normal((640, 8192)).astype(np.float32))
    manifest = write_version(folders, "v000001", vectors)
    publisher = begin_publishing(url, folders)
    assert publisher
    publisher.upload(manifest)
    put_in_use(folders, manifest.named, 2, publisher.publish)
    return max(files_of(folders, manifest), key=lambda found: found[1].size_bytes)


def part_bytes(folders: Folders) -> int:
    """How many bytes there are of a file that is not whole."""
    return sum(path.stat().st_size for path in folders.index.rglob(f"*{PART}"))
