"""Versions put into an object storage by several machines, and what is deleted there when."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from prepare.publishing import DROPPED, GRACE, Publisher, begin_publishing
from prepare.rollback import roll_back
from prepare.versions import current_of, find_version, next_version, put_in_use
from search.manifest import Folders, Manifest, files_of
from search.object_store import ObjectStore, StoreError
from search.stored_versions import FILES, MANIFESTS, manifest_name
from tests.unit.indexing import folders_in, write_version

VECTORS = np.eye(4, dtype=np.float32)


class Machine:
    """A machine with a disk of its own that prepares versions."""

    def __init__(self, root: Path, name: str) -> None:
        self.url = f"file://{root}/store"
        (root / name).mkdir()
        self.folders = folders_in(root / name)

    def begin(self) -> Publisher:
        """Begin a run."""
        publisher = begin_publishing(self.url, self.folders)
        assert publisher
        return publisher

    def write(self, inputs: str) -> Manifest:
        """Write a version of these inputs."""
        vectors = np.roll(VECTORS, len(inputs), axis=0)
        return write_version(self.folders, next_version(self.folders), vectors, inputs=inputs)

    def put(self, publisher: Publisher, manifest: Manifest, keep: int = 2) -> None:
        """End a run."""
        publisher.upload(manifest)
        put_in_use(self.folders, manifest.named, keep, publisher.publish)


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    """Two of them, and one storage."""
    return Machine(tmp_path, "one"), Machine(tmp_path, "two")


@pytest.fixture
def store(machines: tuple[Machine, Machine]) -> ObjectStore:
    """The storage."""
    return ObjectStore(machines[0].url)


def in_use(folders: Folders) -> str:
    current = current_of(folders)
    assert current is not None
    return current.now.version


def versions(store: ObjectStore) -> list[str]:
    """The versions in the storage."""
    return sorted(name.partition("-")[0] for name in store.names(MANIFESTS))


def test_of_two_runs_at_a_time_one_wins_and_the_other_is_told(
    machines: tuple[Machine, Machine], store: ObjectStore
) -> None:
    """The version of the other is kept; another run puts it in use without building it anew."""
    one, two = machines
    publishers = one.begin(), two.begin()
    mine, others = one.write("a"), two.write("bb")
    two.put(publishers[1], others)
    with pytest.raises(ConfigError, match="v000001 is not in use; it is kept: run this again"):
        one.put(publishers[0], mine)
    assert versions(store) == ["v000001", "v000001"]

    again = one.begin()
    current = current_of(one.folders)
    assert current is not None
    assert current.now == others.named
    found = find_version(one.folders, "a")
    assert found == mine
    one.put(again, mine)
    two.begin()
    current = current_of(two.folders)
    assert current is not None
    assert (current.now, current.before) == (mine.named, others.named)


def test_a_version_of_another_machine_is_noted(
    machines: tuple[Machine, Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and the next version has a higher number."""
    one, two = machines
    for inputs in ("a", "bb"):
        one.put(one.begin(), one.write(inputs))
    assert capsys.readouterr().out == ""
    publisher = two.begin()

    assert "v000002 is in use in file://" in capsys.readouterr().out
    assert two.write("ccc").version == "v000003"
    two.put(publisher, two.write("ccc"))
    assert in_use(two.folders) == "v000004"


def test_only_what_is_not_there_is_uploaded(
    machines: tuple[Machine, Machine], store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that was made before there was a storage, too; then only what another one lacks."""
    one, _ = machines
    manifest = one.write("a")
    put_in_use(one.folders, manifest.named, 2)
    one.put(one.begin(), manifest)
    assert versions(store) == ["v000001"]
    files = [file.sha256 for _, file in files_of(one.folders, manifest)]
    assert set(store.names(FILES)) == set(files)
    capsys.readouterr()
    one.put(one.begin(), manifest)
    assert capsys.readouterr().err == ""
    store.delete([f"{FILES}/{files[0]}"])
    one.put(one.begin(), manifest)

    assert "uploading: 2 of 2 files" in capsys.readouterr().err
    assert set(store.names(FILES)) == set(files)


def test_an_upload_that_ends_early_leaves_no_manifest(
    machines: tuple[Machine, Machine], store: ObjectStore
) -> None:
    """So a version in the storage is whole."""
    one, _ = machines
    publisher, manifest = one.begin(), one.write("a")
    folder, file = list(files_of(one.folders, manifest))[-1]
    (folder / file.name).unlink()
    with pytest.raises(StoreError):
        publisher.upload(manifest)

    assert len(store.names(FILES)) > 1
    assert versions(store) == []


def test_what_is_not_kept_goes_after_an_hour(
    machines: tuple[Machine, Machine], store: ObjectStore
) -> None:
    """First it is marked; what the versions that stay share with it stays."""
    one, _ = machines
    manifests = [one.write(inputs) for inputs in ("a", "bb", "ccc")]
    for manifest in manifests:
        one.put(one.begin(), manifest, keep=3)
    store.write(f"{FILES}/orphan", b"of a run that was killed")
    soon, later = (datetime.now(UTC) + hours * GRACE for hours in (0.5, 1.5))
    publisher = one.begin()
    publisher.sweep(2, soon)
    marked = list(store.names(DROPPED))
    publisher.sweep(2, soon)
    assert versions(store) == ["v000001", "v000002", "v000003"]
    assert marked == [manifest_name(manifests[0].named)]
    assert "orphan" in store.names(FILES)
    publisher.sweep(2, later)

    assert versions(store) == ["v000002", "v000003"]
    assert store.names(DROPPED) == {}
    kept = {file.sha256 for one_ in manifests[1:] for _, file in files_of(one.folders, one_)}
    assert set(store.names(FILES)) == kept
    for manifest in manifests[1:]:
        assert publisher.find(manifest.named) == manifest


def test_a_version_that_is_kept_again_is_not_deleted(
    machines: tuple[Machine, Machine], store: ObjectStore
) -> None:
    """Though it was marked: by then it is in use."""
    one, _ = machines
    manifests = [one.write(inputs) for inputs in ("a", "bb", "ccc")]
    for manifest in manifests:
        one.put(one.begin(), manifest, keep=3)
    one.begin().sweep(2)
    one.put(one.begin(), manifests[0], keep=3)
    later = datetime.now(UTC) + 2 * GRACE
    one.begin().sweep(2, later)

    assert versions(store) == ["v000001", "v000002", "v000003"]
    assert list(store.names(DROPPED)) == [manifest_name(manifests[1].named)]


def test_where_a_manifest_cannot_be_read_no_file_is_deleted(
    machines: tuple[Machine, Machine], store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows which files it names."""
    one, _ = machines
    one.put(one.begin(), one.write("a"))
    store.write(f"{MANIFESTS}/v000009-0", b"{}")
    store.write(f"{FILES}/orphan", b"")
    one.begin().sweep(3, datetime.now(UTC) + timedelta(days=1))

    assert "orphan" in store.names(FILES)
    assert "no files are deleted" in caplog.text


def test_a_rollback_needs_nothing_on_the_disk(
    machines: tuple[Machine, Machine], store: ObjectStore
) -> None:
    """Any machine can go back, to what the storage has whole."""
    one, two = machines
    manifests = [one.write(inputs) for inputs in ("a", "bb")]
    for manifest in manifests:
        one.put(one.begin(), manifest)

    assert roll_back(two.folders, two.url) == manifests[0]
    assert in_use(two.folders) == "v000001"
    assert roll_back(one.folders, one.url) == manifests[1]
    _, file = next(files_of(one.folders, manifests[0]))
    store.delete([f"{FILES}/{file.sha256}"])
    with pytest.raises(ConfigError, match=r"version before cannot be used: .* lacks files"):
        roll_back(one.folders, one.url)
