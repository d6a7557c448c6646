"""The log of the live index in its two kinds: nothing acknowledged is lost, no gap is unseen."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from common.config import parse
from common.errors import ConfigError
from search.log import Entry, Log, LogGap, LogMoved, open_log
from search.redis_log import STREAM, RedisLog
from search.sqlite_log import SqliteLog
from tests.redis_server import DURABLE, RedisServer, redis_server
from tests.search.logs import acknowledged, entries, opened


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server that keeps what it acknowledges."""
    with redis_server(tmp_path_factory.mktemp("redis"), options=DURABLE) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log that does not exist yet would be, as in config.json."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/new/log.sqlite"
    redis: RedisServer = request.getfixturevalue("redis")
    with redis.client as client:
        client.flushall()
    return redis.url


@pytest.fixture
def log(place: str) -> Iterator[Log]:
    """Such a log."""
    log = opened(place)
    yield log
    log.close()


def test_entries_come_back_in_order_with_their_positions(log: Log, place: str) -> None:
    """Also to another reader, and in parts; a log that no one has written has no id."""
    put = Entry("put", b"k" * 24, "space", b"vector", b"record")

    assert ("", 0, 0, []) == (log.id(), log.start(), log.end(), log.read(0, 10))
    assert 2 == log.append(entries(2))
    assert 3 == log.append([put])

    other = opened(place)
    assert [(1, entries(1)[0]), (2, entries(1, 2)[0])] == other.read(0, 2)
    assert [(3, put)] == other.read(2, 10)
    assert [] == other.read(3, 10)
    assert (log.id(), 0, 3) == (other.id(), other.start(), other.end())
    assert log.id()
    other.close()


def test_a_trimmed_log_goes_on_and_shows_the_gap(log: Log) -> None:
    """Positions are never used again, also when all entries are trimmed."""
    log.trim(5)
    log.append(entries(4))
    log.trim(2)

    assert (2, 4) == (log.start(), log.end())
    assert [3, 4] == [position for position, _ in log.read(2, 10)]
    for after in (0, 1, 5):
        with pytest.raises(LogGap):
            log.read(after, 10)
    log.trim(9)
    assert (4, 4) == (log.start(), log.end())
    with pytest.raises(LogGap, match="ends at 4"):
        log.read(3, 10)
    assert 5 == log.append(entries(1, 5))
    assert [(5, entries(1, 5)[0])] == log.read(4, 10)


def test_an_entry_that_is_missing_or_unreadable_is_a_gap(log: Log) -> None:
    """Whoever took it away, a reader does not go on behind it."""
    log.append(entries(3))
    if isinstance(log, RedisLog):
        log._client.xdel(STREAM, "0-2")
    elif isinstance(log, SqliteLog):
        assert log._connection
        log._connection.execute("DELETE FROM entry WHERE position = 2")
    with pytest.raises(LogGap, match="entry 3 where 2 should be"):
        log.read(0, 10)

    if isinstance(log, SqliteLog) and log._connection:
        log._connection.execute("UPDATE entry SET packed = x'c1' WHERE position = 3")
        with pytest.raises(LogGap, match="entry 3 of the log"):
            log.read(2, 10)


def test_whoever_waits_is_woken_by_an_append(log: Log, place: str) -> None:
    """Of another process or thread; without one the wait ends by itself."""
    log.wait(0, 0.01)
    log.append(entries(1))
    other = opened(place)
    soon = threading.Timer(0.1, lambda: other.append(entries(1, 2)))
    soon.start()
    log.wait(1, 30)
    soon.join()  # the entry is there before its writer has its answer

    assert 2 == log.end()
    other.close()


def test_several_writers_share_the_positions(log: Log, place: str) -> None:
    """Each has positions of its own, and the entries of one append lie together."""

    def append(writer: int) -> list[int]:
        other = opened(place)
        ends = [other.append([Entry("delete", b"%016d" % writer)] * 3) for _ in range(20)]
        other.close()
        return ends

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(append, range(4)))

    assert list(range(3, 241, 3)) == sorted(end for ends in found for end in ends)
    keys = dict(log.read(0, 1000))
    for writer, ends in enumerate(found):
        for end in ends:
            own = {keys[position].key for position in range(end - 2, end + 1)}
            assert {b"%016d" % writer} == own


def test_who_makes_the_log_waits_for_another_who_does(tmp_path: Path) -> None:
    """SQLite itself does not wait there, and the first writes of several workers come together."""
    path = tmp_path / "log.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.2, other.rollback)
    done.start()
    log = SqliteLog(path)
    assert 1 == log.append(entries(1))
    done.join()
    log.close()
    other.close()


def test_an_append_after_a_position_comes_right_behind_it(log: Log, place: str) -> None:
    """Where another writer was faster nothing is written; so, too, of several at a time."""
    assert 2 == log.append(entries(2), after=0)
    for after in (0, 1, 3):
        with pytest.raises(LogMoved):
            log.append(entries(1), after=after)
    assert 3 == log.append(entries(1), after=2)

    def append(writer: int) -> list[int]:
        other = opened(place)
        found: list[int] = []
        while len(found) < 10:
            end = other.end()
            with suppress(LogMoved):
                assert end + 2 == other.append([Entry("delete", b"%016d" % writer)] * 2, after=end)
                found.append(end + 2)
        other.close()
        return found

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(append, range(4)))
    assert list(range(5, 84, 2)) == sorted(end for ends in found for end in ends)
    assert 83 == log.end()


def test_what_was_acknowledged_outlives_a_writer(log: Log, place: str) -> None:
    """SIGKILL amid appends: all of them are there, none in part, and others go on."""
    last = acknowledged(place)
    end = log.end()

    assert end >= last >= 60
    assert 0 == end % 3
    assert list(range(1, end + 1)) == [position for position, _ in log.read(0, end)]
    assert end + 1 == log.append(entries(1))


def test_config_json_names_the_log() -> None:
    """An SQLite file, a Redis, or none; nothing else."""
    assert "sqlite:data/log.sqlite" == parse("{}").log
    assert open_log(parse('{"Live": {"log": null}}').log, Path()) is None
    several = '{"Search": {"server-list": ["10.0.0.1:9000", "10.0.0.2:9000"]}}'
    assert parse(several).log is None, "a file of one machine, which others do not see"
    for name in ("data/log.sqlite", "sqlite:", "http://example.com"):
        with pytest.raises(ConfigError, match="log"):
            parse(f'{{"Live": {{"log": "{name}"}}}}')
