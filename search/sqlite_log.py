"""The log in an SQLite file, for one machine. Its readers, too, must be able to write there."""

import math
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.files import stamp_of
from common.wire import encode
from search.log import Entries, Entry, LogMoved, decoded, log_unavailable

POLL_S = 0.02
"""Between two looks for entries: SQLite tells nobody of a change."""
QUIET_POLL_S = 0.1
"""The same after `QUIET_S` without an entry. With 50 looks a second, 21 search servers at rest took
8 % of two cores."""
QUIET_S = 5.0
BUSY_S = 5.0
"""A process waits so long while another one appends."""
TABLES = (
    "CREATE TABLE IF NOT EXISTS log (id TEXT NOT NULL, start INT NOT NULL, end INT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS entry (position INTEGER PRIMARY KEY, packed BLOB NOT NULL)",
)
FIRST_ROW = "INSERT INTO log SELECT ?, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM log)"
IS_MADE = "SELECT 1 FROM sqlite_master WHERE name = 'entry'"
NO_LOG = ("", 0, 0)


class SqliteLog:
    """A `log.Log` in a file. The first append makes the file, and its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._grown_at = -math.inf  # when `wait` last found an entry

    def id(self) -> str:
        """See `log.Log`."""
        return self._state()[0]

    def start(self) -> int:
        """See `log.Log`."""
        return self._state()[1]

    def end(self) -> int:
        """See `log.Log`."""
        return self._state()[2]

    def append(self, entries: Sequence[Entry], after: int | None = None) -> int:
        """See `log.Log`."""
        with self._open(makes=True) as database, _transaction(database):
            (end,) = database.execute("SELECT end FROM log").fetchone()
            if after not in (None, end):
                raise LogMoved
            rows = [(position, encode(entry)) for position, entry in enumerate(entries, end + 1)]
            database.executemany("INSERT INTO entry VALUES (?, ?)", rows)
            database.execute("UPDATE log SET end = ?", (end + len(rows),))
        return int(end) + len(rows)

    def read(self, after: int, limit: int) -> Entries:
        """See `log.Log`."""
        query = "SELECT position, packed FROM entry WHERE position > ? ORDER BY 1 LIMIT ?"
        end = self.end()
        return decoded(self._rows(query, after, limit), after, end)

    def wait(self, after: int, timeout_s: float) -> None:
        """See `log.Log`."""
        now = time.monotonic()
        deadline = now + timeout_s
        while self.end() <= after:
            if now >= deadline:
                return
            time.sleep(POLL_S if now - self._grown_at < QUIET_S else QUIET_POLL_S)
            now = time.monotonic()
        self._grown_at = now

    def trim(self, upto: int) -> None:
        """See `log.Log`."""
        if self.end():
            with self._open(makes=True) as database, _transaction(database):
                database.execute("UPDATE log SET start = max(start, min(end, ?))", (upto,))
                database.execute("DELETE FROM entry WHERE position <= ?", (upto,))

    def close(self) -> None:
        """See `log.Log`."""
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    def _state(self) -> tuple[str, int, int]:
        """The id, the start and the end."""
        found: list[tuple[str, int, int]] = self._rows("SELECT id, start, end FROM log")
        return found[0] if found else NO_LOG

    def _rows(self, query: str, *values: int) -> list[Any]:
        """What a query finds; nothing without a log."""
        with self._open(makes=False) as database:
            return database.execute(query, values).fetchall() if database else []

    @contextmanager
    def _open(self, *, makes: bool) -> Iterator[Any]:
        """The connection, for one thread at a time; None without a log that is not to be made."""
        with self._lock:
            try:
                yield self._connected(makes)
            except (sqlite3.Error, OSError) as error:
                raise log_unavailable(error) from None

    def _connected(self, makes: bool) -> sqlite3.Connection | None:
        # SQLite goes on in a file that was removed: what is written there would be lost
        inode = stamp_of(self._path)[1]
        if self._connection and inode != self._inode:
            self._connection.close()
            self._connection = None
        if self._connection is None and (inode or makes):
            self._connection = _connect(self._path, makes)
            self._inode = stamp_of(self._path)[1]
        return self._connection


def _connect(path: Path, makes: bool) -> sqlite3.Connection | None:
    """A connection to a log; None if none is in the file, and it is not to be made."""
    if makes:
        path.parent.mkdir(parents=True, exist_ok=True)
    mode = "rwc" if makes else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
        if makes:
            _make(connection)
        elif connection.execute(IS_MADE).fetchone() is None:
            connection.close()
            return None
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    """Make the tables and the id, unless they are there."""
    _set_wal(connection)
    with _transaction(connection):
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(FIRST_ROW, (secrets.token_hex(8),))


def _set_wal(connection: sqlite3.Connection) -> None:
    """Have readers and the writer never wait for each other; wait for others that make the log.

    SQLite's own timeout does not hold here: it fails at once.
    """
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(POLL_S)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is written is on the disk at the end, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
