"""A search server follows the log: it replays it first, and never mixes two logs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from common.errors import Unavailable
from devtools.services import wait_until
from search.following import catch_up, is_due
from search.index_versions import IndexVersions
from search.manifest import Current, Folders, VersionRef, write_current, write_manifest
from search.shard import Shard
from search.sqlite_log import SqliteLog
from search.version import Version, load_version
from tests.changes import delete, key, patch, put
from tests.unit.indexing import folders_in, write_version

VECTORS = np.eye(4, dtype=np.float32)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """For versions of four images in one shard."""
    return folders_in(tmp_path)


def write(folders: Folders, version: str, log_id: str = "", position: int = 0) -> VersionRef:
    """A version into which prepare has put the entries of a log up to a position."""
    manifest = write_version(folders, version, VECTORS)
    made = replace(manifest, log_id=log_id, log_position=position)
    return write_manifest(folders, made).named


def load(folders: Folders, log_id: str = "", position: int = 0) -> Version:
    return load_version(folders, write(folders, "v000001", log_id, position), range)


def remove(log: SqliteLog) -> None:
    for path in log._path.parent.glob("log.sqlite*"):
        path.unlink()


def test_a_version_gets_the_entries_that_it_lacks(folders: Folders, log: SqliteLog) -> None:
    """In parts, from its own place on; also of a log that is made later."""
    version = load(folders)
    catch_up(version, log)
    assert (0, "") == (version.position, version.log_id)
    log.append([put(number, VECTORS[0]) for number in range(1, 1501)])
    later = load(folders, log.id(), 1499)
    for each in (version, later):
        catch_up(each, log)

    assert [1500, 1500] == [version.position, later.position]
    assert [1504, 5] == [version.shards[0].count, later.shards[0].count]
    assert log.id() == version.log_id == later.log_id


@pytest.mark.parametrize("fault", ["another log", "trimmed", "shorter", "unreadable"])
def test_a_log_that_does_not_go_on_is_not_followed(
    folders: Folders, log: SqliteLog, fault: str
) -> None:
    """The version stays as it is, says why, and no later entry reaches it."""
    log.append([put(number, VECTORS[0]) for number in range(3)])
    version = load(folders, log.id(), 1 if fault == "trimmed" else 3)
    if fault == "another log":
        remove(log)
        log.append([delete(0)] * 5)
    elif fault == "trimmed":
        log.trim(2)
    elif fault == "shorter":
        version.position = 4
    elif log._connection:
        log._connection.execute("UPDATE entry SET packed = x'c1'")
        version.position = 2
    before = version.position
    for _ in range(2):
        catch_up(version, log)
        log.append([delete(1)])

    told = {"another log": "another log", "trimmed": "entry 3 where", "shorter": "ends at 3"}
    assert told.get(fault, "entry 3 of the log") in version.stopped
    assert (before, 4) == (version.position, version.shards[0].count)


def test_a_version_waits_for_a_log_that_is_gone(folders: Folders, log: SqliteLog) -> None:
    """It is no reason to stop, as the log may come back."""
    log.append([delete(9)])
    version = load(folders, log.id(), 0)
    kept = {path: path.read_bytes() for path in log._path.parent.glob("log.sqlite*")}
    remove(log)
    with pytest.raises(Unavailable, match="not there"):
        catch_up(version, log)
    for path, data in kept.items():
        path.write_bytes(data)
    catch_up(version, log)

    assert (1, "") == (version.position, version.stopped)


def test_no_version_is_in_use_before_it_has_the_log(folders: Folders, log: SqliteLog) -> None:
    """At the start nothing is answered; later the version before stays. No file is read twice."""
    log.append([put(9, VECTORS[0])])
    first = write(folders, "v000001", log.id(), 0)
    write_current(folders, Current(first))
    kept = {path: path.read_bytes() for path in log._path.parent.glob("log.sqlite*")}
    remove(log)
    versions = IndexVersions(folders, range, 1.0, changes=log)
    versions.refresh()
    with pytest.raises(Unavailable) as raised:
        versions.newest()
    assert "log_unavailable" == raised.value.code
    waiting = versions._following._unready
    for path, data in kept.items():
        path.write_bytes(data)
    versions.refresh()
    assert waiting is versions.newest()
    assert 1 == versions.newest().position

    write_current(folders, Current(write(folders, "v000002", log.id(), 1), first))
    remove(log)
    versions.refresh()
    assert "v000001" == versions.newest().manifest.version
    for path, data in kept.items():
        path.write_bytes(data)
    versions.refresh()
    assert "v000002" == versions.newest().manifest.version


def test_a_version_that_got_old_while_it_was_loaded_is_not_used(
    folders: Folders, log: SqliteLog
) -> None:
    """Prepare has put others in use and trimmed the log: the newest has what this one lacks."""
    log.append([delete(0)])
    old = write(folders, "v000001", log.id(), 1)
    write_current(folders, Current(old))
    newest = write(folders, "v000003", log.id(), log.append([delete(1), delete(2)]))
    versions = IndexVersions(folders, range, 1.0, changes=log)
    load = versions._load

    def slowly(named: VersionRef) -> Version:
        write_current(folders, Current(newest))
        log.trim(2)
        return load(named)

    versions._load = slowly  # type: ignore[method-assign]
    versions.refresh()
    with pytest.raises(Unavailable, match="entry 3 where 2 should be"):
        versions.newest()
    versions.refresh()
    assert (newest, "") == (versions.newest().manifest.named, versions.newest().stopped)


def test_what_is_deleted_while_a_version_is_loaded_stays_deleted(
    folders: Folders, log: SqliteLog
) -> None:
    """The version before has applied it, and shares its segments with the new one."""
    first = write(folders, "v000001")
    write_current(folders, Current(first))
    versions = IndexVersions(folders, range, 1.0, changes=log)
    versions.refresh()
    second = write(folders, "v000002")
    write_current(folders, Current(second, first))
    ready = versions._following.ready

    def and_then_delete(named: VersionRef, load: Callable[[VersionRef], Version]) -> Version:
        version = ready(named, load)
        log.append([delete(0)])
        versions._following._step(log)
        return version

    versions._following.ready = and_then_delete  # type: ignore[method-assign]
    versions.refresh()
    found = [(version.position, version.shards[0].count) for version in versions._versions]
    log.close()

    assert "v000002" == versions.newest().manifest.version
    assert [(1, 3), (1, 3)] == found


def test_every_loaded_version_is_followed(folders: Folders, log: SqliteLog) -> None:
    """The one before, too; a rollback finds what was put meanwhile."""
    first = write(folders, "v000001")
    write_current(folders, Current(first))
    versions = IndexVersions(folders, range, 0.01, changes=log)
    versions.start()
    second = write(folders, "v000002", position=0)
    write_current(folders, Current(second, first))
    wait_until(lambda: "v000002" == versions.newest().manifest.version)
    end = log.append([put(9, VECTORS[0]), patch(9, colour="red"), delete(0)])
    for named in (first, second):
        versions.get(named.sha256).wait_for(end, float("inf"))
    write_current(folders, Current(first, second))
    wait_until(lambda: "v000001" == versions.newest().manifest.version)
    counts = [versions.get(named.sha256).shards[0].count for named in (first, second)]
    versions.close()

    assert [4, 4] == counts


def test_prepare_is_due_before_searches_get_slow(folders: Folders) -> None:
    """At 1,000 rows that are 5 % of the shard, or at 30 % tombstones."""
    shard = load(folders).shards[0]
    for number in range(2):
        shard.delete(key(0)[:16]) if number else None
        assert not is_due(shard)
    for number in range(1, 1001):
        assert not is_due(shard)
        shard.put(key(number), VECTORS[0], b"\x91\xa1a")
    assert is_due(shard)
    assert not is_due(Shard([]))
