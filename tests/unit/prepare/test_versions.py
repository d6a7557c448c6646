"""The index versions in their folders: named, found again, put in use and pruned."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from common.errors import ConfigError
from prepare.rollback import roll_back
from prepare.versions import (
    chunks_of_versions,
    current_of,
    find_version,
    next_version,
    put_in_use,
    sweep_version,
)
from search.manifest import CURRENT, MANIFEST, SEGMENTS, Folders, write_manifest
from search.version_folders import delete_unfinished
from tests.unit.indexing import folders_in, write_version

VECTORS = np.eye(4, dtype=np.float32)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Empty ones."""
    return folders_in(tmp_path)


def names(folders: Folders) -> list[str]:
    """The versions that are there."""
    return sorted(path.name for path in folders.index.glob("v*"))


def test_a_new_version_has_a_name_that_no_folder_knows(folders: Folders) -> None:
    """What a killed run left is deleted, where it stands in the index."""
    assert next_version(folders) == "v000001"
    (folders.hashes / "v000007").mkdir()
    (folders.index / "not-a-version").mkdir()

    assert next_version(folders) == "v000008"
    assert names(folders) == ["v000008"]
    assert all((folder / "v000008").is_dir() for folder in folders.all())


def test_a_version_with_a_plan_is_gone_on_with(folders: Folders) -> None:
    """Unless another version came between; until then no segment is deleted."""
    version = folders.index / next_version(folders)
    (version / "plan-0123").mkdir()
    (folders.paths / "v000001" / "left").touch()
    (folders.index / SEGMENTS).mkdir()
    segment = folders.index / SEGMENTS / "made.hnsw"
    segment.touch()
    delete_unfinished(folders)

    assert next_version(folders) == "v000001"
    assert segment.exists()
    assert (folders.paths / "v000001" / "left").exists()
    write_version(folders, "v000002", VECTORS)
    assert next_version(folders) == "v000003"
    assert names(folders) == ["v000002", "v000003"]
    assert not segment.exists()


def test_what_a_version_was_built_with_goes(folders: Folders) -> None:
    """Its plan, what killed processes left; all that is of the version stays."""
    manifest = write_version(folders, "v000001", VECTORS)
    before = sorted((folders.index / "v000001").iterdir())
    for name in ("plan-0123", "unplanned"):
        (folders.index / "v000001" / name).mkdir()
    for folder in folders.all():
        (folder / "v000001" / "shard-000-0123.hnsw").touch()
    sweep_version(folders, manifest)

    assert before == sorted((folders.index / "v000001").iterdir())
    assert not list((folders.paths / "v000001").iterdir())


def test_a_folder_that_a_copy_has_left_out_is_not_missed(folders: Folders) -> None:
    """rsync and object storages have no empty folders, as those of a version without leftovers."""
    manifest = write_version(folders, "v000001", VECTORS)
    (folders.hashes / "v000001").rmdir()
    (folders.paths / "v000001/left").touch()
    sweep_version(folders, manifest)

    assert not list((folders.paths / "v000001").iterdir())


def test_a_whole_version_of_the_same_inputs_is_found(folders: Folders) -> None:
    """The newest; one that was damaged is passed over."""
    for number in (1, 2, 3):
        write_version(folders, f"v00000{number}", VECTORS, inputs="same")
    write_version(folders, "v000004", VECTORS, inputs="other")
    found = find_version(folders, "same")
    assert found is not None
    assert found.version == "v000003"
    (segment,) = found.segments
    (folders.paths / SEGMENTS / segment.records.name).write_bytes(b"x")
    found = find_version(folders, "same")
    assert found is not None
    assert found.version == "v000002"
    assert find_version(folders, "none") is None


def test_the_version_before_is_kept_and_older_ones_go(folders: Folders) -> None:
    """As many as are to be kept, the one before the last of them to go."""
    for number in range(1, 5):
        manifest = write_version(folders, f"v00000{number}", VECTORS, inputs=f"{number}")
        put_in_use(folders, manifest.named, keep=2)
    current = current_of(folders)

    assert current is not None
    assert current.before is not None
    assert (current.now.version, current.before.version) == ("v000004", "v000003")
    assert names(folders) == ["v000003", "v000004"]
    assert sorted(path.name for path in folders.hashes.glob("v*")) == ["v000003", "v000004"]


def test_going_back_keeps_what_was_newer(folders: Folders) -> None:
    """It is the one before then."""
    first, second = (write_version(folders, f"v00000{n}", VECTORS, inputs=f"{n}") for n in (1, 2))
    for manifest in (first, second, first, first):
        put_in_use(folders, manifest.named, keep=2)
    current = current_of(folders)

    assert current is not None
    assert current.before is not None
    assert (current.now.version, current.before.version) == ("v000001", "v000002")
    assert names(folders) == ["v000001", "v000002"]


def test_a_damaged_current_says_nothing(folders: Folders) -> None:
    """As when there is none; the next version is put in use all the same."""
    assert current_of(folders) is None
    (folders.index / CURRENT).write_bytes(b"\xff")
    assert current_of(folders) is None
    manifest = write_version(folders, "v000001", VECTORS)
    put_in_use(folders, manifest.named, keep=2)
    assert current_of(folders) is not None


def test_a_current_that_is_a_folder_is_told(folders: Folders) -> None:
    """Kind J: it may hold anything, so it is not taken away."""
    manifest = write_version(folders, "v000001", VECTORS)
    (folders.index / CURRENT).mkdir()
    assert current_of(folders) is None
    with pytest.raises(ConfigError, match=r"CURRENT is a folder: remove it"):
        put_in_use(folders, manifest.named, keep=2)


@pytest.mark.parametrize("content", [b"", b"junk", b"../../etc"])
def test_there_is_no_way_back_from_a_damaged_current(folders: Folders, content: bytes) -> None:
    """Kind J: prepare writes it anew, and that is said."""
    (folders.index / CURRENT).write_bytes(content)
    with pytest.raises(ConfigError, match=r"CURRENT: .*: run prepare, which writes it anew"):
        roll_back(folders)
    manifest = write_version(folders, "v000001", VECTORS)
    put_in_use(folders, manifest.named, keep=2)
    with pytest.raises(ConfigError, match="no previous version to put in use"):
        roll_back(folders)


def test_the_chunks_of_the_versions_that_are_kept(folders: Folders) -> None:
    """Unknown where one does not tell, as of an earlier release, or cannot be read."""
    assert chunks_of_versions(folders) == set()
    for number, chunks in ((1, [1, 2]), (2, [2, 3])):
        manifest = write_version(folders, f"v00000{number}", VECTORS)
        write_manifest(folders, replace(manifest, chunks=chunks))
    next_version(folders)
    assert chunks_of_versions(folders) == {1, 2, 3}
    path = folders.index / "v000002" / MANIFEST
    whole = path.read_bytes()
    path.write_bytes(b"{}")
    assert chunks_of_versions(folders) is None
    path.write_bytes(whole)
    write_version(folders, "v000004", VECTORS)
    assert chunks_of_versions(folders) is None
