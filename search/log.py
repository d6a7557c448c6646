"""The log of the live index: puts, patches and deletes of images, in one order for all servers.

Middle appends, search servers follow, prepare reads and trims. Entries have the positions 1, 2, 3
and so on. The first append makes the log and gives it an id: another id is another log.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from common.errors import Unavailable
from common.wire import UNREADABLE


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A change of one image."""

    op: Literal["put", "patch", "delete"]
    key: bytes
    """The 24 bytes of an IMAGE_KEY for a put, else the first 16 of them: the id."""
    space: str = ""
    """Of the vector of a put: what `Manifest.space` is for an index."""
    vector: bytes = b""
    """Of a put: float32, little-endian, of length 1."""
    record: bytes = b""
    """Of a put, a `Record`; of a patch, the metadata to change, null for a field to remove.
    Both as msgpack."""


Entries = list[tuple[int, Entry]]
"""Entries with their positions."""


class LogGap(Exception):
    """The log does not go on where a reader stopped; the message says why."""


class LogMoved(Exception):
    """The log does not end any more where a writer has read its end."""


class Log(Protocol):
    """A log; its methods may be called from any thread. They raise Unavailable `log_unavailable`.

    A log that does not exist has no id, and ends at 0.
    """

    def id(self) -> str:
        """What tells this log from every other; "" if it does not exist."""

    def append(self, entries: Sequence[Entry], after: int | None = None) -> int:
        """Write entries to the disk, all or none; returns the position of the last.

        With `after`, raises LogMoved if the log does not end there.
        """

    def start(self) -> int:
        """The position up to which entries were trimmed."""

    def end(self) -> int:
        """The position of the last entry that ever was, 0 for none."""

    def read(self, after: int, limit: int) -> Entries:
        """At most `limit` entries after a position; raises LogGap if the next is not there."""

    def wait(self, after: int, timeout_s: float) -> None:
        """Wait for an entry after a position, or for some time."""

    def trim(self, upto: int) -> None:
        """Remove the entries up to a position."""

    def close(self) -> None:
        """Close connections; a further call would open them again."""


def open_log(log: str | None, root: Path) -> Log | None:
    """The log that `Config.log` names, relative to `root`; None without one. Connects later."""
    if log is None:
        return None
    kind, _, name = log.partition(":")
    if kind == "sqlite":
        from search.sqlite_log import SqliteLog  # imported here, as that module needs this one

        return SqliteLog(root / name)
    from search.redis_log import RedisLog  # imported here, as its client takes 10 MB

    return RedisLog(log)


def decoded(rows: Sequence[tuple[int, bytes]], after: int, end: int) -> Entries:
    """The entries of packed rows, which must be those after a position; raises LogGap.

    `end` is where the log ended before the rows were read.
    """
    if not rows and after != end:
        raise LogGap(f"the log ends at {end} and has no entry after {after}")
    entries = []
    for position, (found, packed) in enumerate(rows, after + 1):
        if found != position:
            raise LogGap(f"the log has entry {found} where {position} should be")
        try:
            entries.append((position, msgspec.msgpack.decode(packed, type=Entry)))
        except UNREADABLE as error:
            raise LogGap(f"entry {position} of the log: {error}") from None
    return entries


def log_unavailable(error: Exception | str) -> Unavailable:
    """The error of a log that cannot be used."""
    return Unavailable(f"the log of puts and deletes: {error}", "log_unavailable")
