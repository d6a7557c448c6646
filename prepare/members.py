"""The members of a collection: a line for each file of it in members.jsonl, after the last run.

Before them is a line with what the log of live changes (search/log.py) has told, if there is one.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np

from common.errors import ConfigError
from prepare.chunks import EmbeddingFolder
from prepare.lines import open_lines, replace_lines
from prepare.tables import Scalar

MEMBERS = "members.jsonl"
LIVE = "live.npy"
"""What earlier releases wrote in place of members.jsonl: int32 [images, 2 or 3], chunk and row."""


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of the collection: an image that can be searched, or one that was skipped (row -1).

    A file that broke may be both: skipped, and offline with the embedding that it had.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    chunk: int
    row: int
    content: str = ""
    """The content hash, in hex; "" of a skipped file."""
    roots: tuple[str, ...] = ()
    """The roots that hold the file; empty if an earlier release wrote it."""
    metadata: dict[str, Scalar] = {}
    told_from: int = 0
    """Where the part of the path begins that answers tell."""
    offline: bool = False
    """Whether the image is searchable though its file was absent in the last run."""
    source_metadata: dict[str, Scalar] | None = None
    """What the roots tell of the file, if `metadata` has what was put or patched live."""

    @property
    def is_searchable(self) -> bool:
        """Whether there is an embedding."""
        return self.row >= 0


class Removed(NamedTuple):
    """An image that was deleted live: it stays out, although its file may be there."""

    path: str
    content: str
    size_bytes: int
    mtime_ns: int
    """Of the file when it was looked at last; it need not be read again to be left out."""


class Folded(NamedTuple):
    """How far the members follow the log, and what it told that is no member."""

    log_id: str = ""
    """"" before there was a log."""
    position: int = 0
    """Of the last entry that is in the members."""
    changed: int = 0
    """The position of the last entry that changed something."""
    removed: tuple[Removed, ...] = ()
    own: tuple[int, int] = (0, 0)
    """Entries that tell of what the members have already: after the first position, to the second.
    See prepare/live_writes.py."""


NOTHING_FOLDED = Folded()


def has_members(folder: EmbeddingFolder) -> bool:
    """Whether a run has written what the collection is."""
    return any((folder.path / name).exists() for name in (MEMBERS, LIVE))


def read_members(folder: EmbeddingFolder) -> Sequence[Member]:
    """The members after the last run, none before the first; raises ConfigError.

    They are read when they are asked for, also after others have replaced them.
    """
    if (folder.path / MEMBERS).exists():
        return open_lines(folder.path / MEMBERS, Member, len(_first_line(folder)))
    return _members_of_live(folder)


def read_folded(folder: EmbeddingFolder) -> Folded:
    """What the members have of the log; raises ConfigError."""
    line = _first_line(folder)
    try:
        return msgspec.json.decode(line, type=Folded) if line else NOTHING_FOLDED
    except msgspec.DecodeError as error:
        raise ConfigError(f"{folder.path / MEMBERS} cannot be read: {error}") from None


def write_members(
    folder: EmbeddingFolder, members: Iterable[Member], folded: Folded = NOTHING_FOLDED
) -> None:
    """Replace the members and what they have of the log, in one step."""
    first = [] if folded == NOTHING_FOLDED else [folded]
    replace_lines(folder.path / MEMBERS, chain(first, members))
    (folder.path / LIVE).unlink(missing_ok=True)


def _first_line(folder: EmbeddingFolder) -> bytes:
    """The line of `Folded` in members.jsonl; empty without one."""
    try:
        with (folder.path / MEMBERS).open("rb") as file:
            return file.readline() if file.peek(1)[:1] == b"[" else b""
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"{folder.path / MEMBERS} cannot be read: {error}") from None


def _members_of_live(folder: EmbeddingFolder) -> list[Member]:
    """The members as an earlier release wrote them; raises ConfigError."""
    try:
        live = np.load(folder.path / LIVE).tolist()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder.path / LIVE} cannot be read: {error}") from None
    rows = {entry.chunk: folder.rows(entry.chunk) for entry in folder.entries()}
    return [
        Member(
            *(told.path, told.size_bytes, told.mtime_ns, chunk, row, told.content),
            metadata=told.metadata,
        )
        for chunk, row, *_ in live
        if chunk in rows
        for told in [rows[chunk][row]]
    ]
