"""The journal of an embedding folder: a line for each finished chunk."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from prepare.lines import lines_of, read_lines

JOURNAL = "journal.jsonl"


class JournalEntry(msgspec.Struct, frozen=True):
    """A finished chunk."""

    chunk: int
    rows: int
    skipped: int
    dim: int
    model: str
    space: str
    sha256: dict[str, str]
    """The digest of each file of the chunk, by suffix."""


def read_entries(journal: Path) -> list[JournalEntry]:
    """The finished chunks, in the order in which they were finished; raises ConfigError."""
    return read_lines(journal, JournalEntry) if journal.exists() else []


def append_entries(journal: Path, entries: Sequence[JournalEntry]) -> None:
    """Append lines, after cutting off a line that a kill left unfinished."""
    with journal.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(lines_of(entries))
        file.flush()
        os.fsync(file.fileno())
