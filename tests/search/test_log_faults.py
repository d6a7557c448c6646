"""Faults of what keeps the log of the live index: a killed Redis, a full disk, a removed file."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.errors import Unavailable
from devtools.services import wait_until
from search.sqlite_log import SqliteLog
from tests.redis_server import DURABLE, redis_server
from tests.search.logs import acknowledged, entries, opened


def test_what_was_acknowledged_outlives_redis(tmp_path: Path) -> None:
    """SIGKILL of Redis: it starts again with all of it; meanwhile the log is unavailable."""
    with redis_server(tmp_path, options=DURABLE) as server:
        log = opened(server.url)
        last = acknowledged(server.url, server.process)
        with pytest.raises(Unavailable) as raised:
            log.append(entries(1))
    with redis_server(tmp_path, server.port, DURABLE):
        end, name = log.end(), log.id()
        read = [position for position, _ in log.read(0, end)]

    assert "log_unavailable" == raised.value.code
    assert name
    assert end >= last >= 60
    assert list(range(1, end + 1)) == read


def test_a_redis_that_may_lose_entries_is_refused(tmp_path: Path) -> None:
    """And the error says which settings it needs."""
    with redis_server(tmp_path) as server, pytest.raises(Unavailable) as raised:
        opened(server.url).append(entries(1))

    assert "appendfsync" in raised.value.detail


def test_a_file_that_is_removed_takes_the_log_with_it(tmp_path: Path) -> None:
    """Nothing more is written to it: the next append makes another log."""
    log, path = SqliteLog(tmp_path / "log.sqlite"), tmp_path / "log.sqlite"
    log.append(entries(3))
    name = log.id()
    for file in tmp_path.iterdir():
        file.unlink()

    assert ("", 0) == (log.id(), log.end())
    assert 1 == log.append(entries(1))
    assert name != log.id() == SqliteLog(path).id() != ""


@pytest.mark.parametrize("content", [b"no database at all" * 99, b""])
def test_what_is_no_log_is_told(tmp_path: Path, content: bytes) -> None:
    """A file of something else is an error, and an empty file no log yet."""
    path = tmp_path / "log.sqlite"
    path.write_bytes(content)
    log = SqliteLog(path)
    if content:
        with pytest.raises(Unavailable, match="not a database"):
            log.end()
    else:
        assert 0 == log.end()
        assert 1 == log.append(entries(1))


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    """The append fails as a whole, and works again once there is room."""
    log = SqliteLog(tmp_path / "log.sqlite")
    log.append(entries(1))
    assert log._connection
    (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
    log._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="full"):
        log.append(entries(1000))
    log._connection.execute("PRAGMA max_page_count = 100000")

    assert 1 == log.end()
    assert 1001 == log.append(entries(1000))


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    """And has the position behind what that one has written."""
    path = tmp_path / "log.sqlite"
    log = SqliteLog(path)
    log.append(entries(1))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO entry SELECT 2, packed FROM entry")
        other.execute("UPDATE log SET end = 2")
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(log.append, entries(1))
            wait_until(lambda: log._lock.locked())
            other.execute("COMMIT")
            assert 3 == waiting.result()
    other.close()
