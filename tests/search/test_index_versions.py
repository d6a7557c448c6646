"""The versions that a search server has loaded: how long it keeps one, when it looks again."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import NotFound, Unavailable
from devtools.collection import Collection
from devtools.fake_clock import FakeClock
from search.index_versions import KEEP_OLD_S, TRY_AGAIN_S, IndexVersions
from search.manifest import (
    CURRENT,
    MANIFEST,
    Current,
    Folders,
    VersionRef,
    read_current,
    write_current,
)
from tests.chaos.damage import copy_version, flip, folders_of, index_file, reseal


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """12 images, version 1."""
    Collection(tmp_path, images=12, shards=1)
    return folders_of(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the versions."""
    return FakeClock()


@pytest.fixture
def held(folders: Folders, clock: FakeClock) -> IndexVersions:
    """Version 1 is loaded; nothing but the test looks for another."""
    one = IndexVersions(folders, range, 1.0, clock)
    one.refresh()
    return one


def swap(folders: Folders) -> None:
    """Put version 2 in use."""
    current = read_current(folders)
    assert current is not None
    write_current(folders, Current(copy_version(folders, "v000001", "v000002"), current.now))


def holds(versions: IndexVersions, version_digest: str) -> bool:
    """Whether a version is still loaded; this is no use of it."""
    return version_digest in [one.manifest.named.sha256 for one in versions._versions]


def test_the_version_before_stays_for_a_while(
    folders: Folders, held: IndexVersions, clock: FakeClock
) -> None:
    """Half a minute after the swap it goes, if nobody asks for it."""
    version_digest = held.newest().manifest.named.sha256
    swap(folders)
    held.refresh()
    clock.advance(KEEP_OLD_S - 1)
    held.refresh()
    assert holds(held, version_digest)
    clock.advance(2)
    held.refresh()

    assert "v000002" == held.newest().manifest.version
    with pytest.raises(NotFound):
        held.get(version_digest)


def test_the_version_before_stays_while_it_is_asked_for(
    folders: Folders, held: IndexVersions, clock: FakeClock
) -> None:
    """Long after the swap, where it was asked for by its digest just now; then it goes."""
    version_digest = held.newest().manifest.named.sha256
    swap(folders)
    held.refresh()
    for _ in range(10):
        clock.advance(KEEP_OLD_S - 1)
        assert "v000001" == held.get(version_digest).manifest.version
        held.refresh()
    assert "v000002" == held.get(None).manifest.version
    clock.advance(KEEP_OLD_S + 1)
    held.refresh()

    assert not holds(held, version_digest)


def test_a_refused_version_is_looked_at_again(
    folders: Folders, held: IndexVersions, clock: FakeClock
) -> None:
    """Its files may have been on their way: after a minute, not at each look, it is taken."""
    swap(folders)
    path = index_file(folders, "v000002", 0)
    flip(path, np.random.default_rng(0))
    held.refresh()
    assert held.refusal is not None
    path.unlink()
    path.hardlink_to(index_file(folders, "v000001", 0))

    clock.advance(TRY_AGAIN_S - 1)
    held.refresh()
    assert "v000001" == held.newest().manifest.version
    clock.advance(2)
    held.refresh()
    assert "v000002" == held.newest().manifest.version
    assert held.refusal is None


def test_an_index_of_another_model_is_not_loaded(
    folders: Folders, held: IndexVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each minute anew it would take the memory of two."""
    current = read_current(folders)
    assert current is not None
    other = copy_version(folders, "v000001", "v000002", space="other", model="other")
    write_current(folders, Current(other, current.now))
    monkeypatch.setattr("search.version.load_shard", pytest.fail)
    held.refresh()

    assert held.refusal is not None
    assert "of another model, other" in held.refusal.reason


def test_a_shelf_without_an_index_says_so(tmp_path: Path) -> None:
    """Until there is one; it looks for it by itself, and ends when it is closed."""
    empty = IndexVersions(folders_of(tmp_path), range, 0.001)
    empty.start()
    with pytest.raises(Unavailable, match="run prepare first"):
        empty.newest()
    with pytest.raises(Unavailable):
        empty.get("version_digest")
    empty.close()


def test_a_version_made_anew_under_an_old_name_is_taken(
    folders: Folders, held: IndexVersions
) -> None:
    """As when somebody deletes all data and prepares again beside a running server."""
    sha256 = reseal(folders.index / "v000001" / MANIFEST, {"created": "later"})
    write_current(folders, Current(VersionRef("v000001", sha256)))

    held.refresh()

    assert "later" == held.newest().manifest.created


def become_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


def become_pipe(path: Path) -> None:
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "junk": lambda path: path.write_bytes(b"\xff\0{"),
    "a name": lambda path: path.write_text("v000001"),
    "a way out": lambda path: path.write_text("../../etc"),
    "a link out": lambda path: path.symlink_to("../../../../etc"),
    "a folder": become_folder,
    "a pipe": become_pipe,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_current_leaves_the_newest_whole_version(
    folders: Folders,
    held: IndexVersions,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], object],
) -> None:
    """Kind J: a server that runs keeps what it has; one that starts takes what is whole."""
    swap(folders)
    named = read_current(folders)
    assert named is not None
    copy_version(folders, "v000001", "v000003")
    flip(index_file(folders, "v000003", 0), np.random.default_rng(0))
    (folders.index / "v000004").mkdir()
    (folders.index / CURRENT).unlink()
    damage(folders.index / CURRENT)
    held.refresh()
    assert "v000001" == held.newest().manifest.version
    assert held.refusal is not None

    caplog.clear()
    fresh = IndexVersions(folders, range, 1.0, clock)
    fresh.refresh()
    assert "v000002" == fresh.newest().manifest.version
    told = [record.getMessage() for record in caplog.records]
    assert any("CURRENT" in line for line in told)
    assert any("nor is version v000003 whole" in line for line in told)
    assert "version v000002 is in use in its place" in told
    caplog.clear()
    fresh.refresh()
    assert [] == caplog.records

    if (folders.index / CURRENT).is_dir() and not (folders.index / CURRENT).is_symlink():
        return
    write_current(folders, Current(named.now))
    for versions in (held, fresh):
        versions.refresh()
        assert "v000002" == versions.newest().manifest.version
        assert versions.refusal is None


def test_with_no_whole_version_it_is_looked_for_again(folders: Folders, clock: FakeClock) -> None:
    """After a minute, not at each look, since a look reads every file."""
    (folders.index / CURRENT).write_bytes(b"")
    manifest = folders.index / "v000001" / MANIFEST
    whole = manifest.read_bytes()
    manifest.write_bytes(b"")
    versions = IndexVersions(folders, range, 1.0, clock)
    versions.refresh()
    manifest.write_bytes(whole)
    clock.advance(TRY_AGAIN_S - 1)
    versions.refresh()
    with pytest.raises(Unavailable):
        versions.newest()
    clock.advance(2)
    versions.refresh()
    assert "v000001" == versions.newest().manifest.version


def test_without_current_nothing_is_taken(folders: Folders, clock: FakeClock) -> None:
    """It is written last, so versions without it may be on their way."""
    (folders.index / CURRENT).unlink()
    versions = IndexVersions(folders, range, 1.0, clock)
    versions.refresh()
    with pytest.raises(Unavailable):
        versions.newest()
