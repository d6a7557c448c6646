"""What is stored of files: the embeddings of one model, by path and by content."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from common.files import location_hash
from prepare.chunks import ChunkResult, EmbeddingFolder, Row, Skipped
from prepare.journal import JournalEntry
from prepare.key_table import Hashes, KeyTable
from prepare.member_table import MemberTable
from prepare.members import Member
from prepare.sources import Source

STORED = np.dtype(
    [("chunk", "i4"), ("row", "i4"), ("size", "i8"), ("mtime", "u8"), ("content", "u8")]
)
"""A `StoredRow` of an embedding; times modulo 2**64, as a disk may tell any."""


class StoredRow(NamedTuple):
    """The stored result of a file: its row in a finished chunk, or why it was skipped (row -1)."""

    chunk: int
    row: int
    content: str = ""
    """The content hash, in hex; "" of a skipped file."""
    file: tuple[int, int] = (0, 0)
    """The size and the time, modulo 2**64, of the file that was read."""
    skipped: Skipped | None = None

    def member(self, source: Source, roots: tuple[str, ...]) -> Member:
        """The member that a file with this result is."""
        return Member(
            *(source.path, source.size_bytes, source.mtime_ns, self.chunk, self.row),
            content=self.content,
            roots=roots,
            metadata={} if self.skipped else source.metadata,
        )


class StoredRows:
    """The finished chunks of one model; 80 bytes of memory an image."""

    def __init__(self, folder: EmbeddingFolder, space: str) -> None:
        self._by_content, self._by_path = KeyTable(STORED), KeyTable(STORED)
        self._skipped: dict[str, StoredRow] = {}
        """By path, those of which the skip is the newest result."""
        self._folder = folder
        self._space = space
        for entry in folder.entries():
            self._add_chunk(entry)

    def add(self, chunk: int, rows: Sequence[Row], skipped: Iterable[Skipped] = ()) -> None:
        """Take up a finished chunk."""
        places = np.array(
            [(chunk, number, *_file(row), int(row.content, 16)) for number, row in enumerate(rows)],
            STORED,
        )
        self._by_content.add(places["content"], places)
        self._add_paths([row.path for row in rows], places)
        for told in skipped:
            self._skipped[told.path] = StoredRow(chunk, -1, "", _file(told), told)

    def add_results(self, results: Iterable[ChunkResult]) -> None:
        """Take up what tasks have made, and the copies of stored content that they have found."""
        copies: list[tuple[str, str]] = []
        for result in results:
            if result.entry:
                self._add_chunk(result.entry)
            copies += result.copies
        found = [(path, self._by_content.find(int(content, 16))) for path, content in copies]
        known = [(path, row.item()) for path, row in found if row is not None]
        # Of others the plan was for another model.
        self._add_paths([path for path, _ in known], np.array([row for _, row in known], STORED))

    def contents(self) -> Hashes:
        """The hashes of all contents, sorted."""
        return self._by_content.keys

    def of_content(self, content: str) -> StoredRow | None:
        """The newest embedding of a content, by its hash in hex."""
        return _row(self._by_content.find(int(content, 16)))

    def of(self, path: str) -> StoredRow:
        """The newest result of a path; raises KeyError."""
        if stored := self._of(path):
            return stored
        raise KeyError(path)

    def result(self, source: Source, images: MemberTable) -> StoredRow:
        """The result of a file that was read if it had to be; raises KeyError."""
        return self.unchanged(source, images) or self.of(source.path)

    def unchanged(self, source: Source, images: MemberTable) -> StoredRow | None:
        """The result of a file that need not be read: it is as it was by size and time.

        `images` are those after the last run.
        """
        file, stored = _file(source), self._of(source.path)
        if stored and stored.file != file:
            stored = None
        if stored and (skipped := stored.skipped):
            is_known = source.problem in (None, skipped.reason)
            return stored if is_known and not skipped.again else None
        if source.problem:
            return None
        image = images.get(source.path)
        of_image = self.of_content(image.content) if image and _file(image) == file else None
        return of_image or stored

    def _of(self, path: str) -> StoredRow | None:
        return self._skipped.get(path) or _row(self._by_path.find(location_hash(path)))

    def _add_chunk(self, entry: JournalEntry) -> None:
        if entry.space == self._space:
            self.add(entry.chunk, self._folder.rows(entry.chunk), self._folder.skipped(entry.chunk))

    def _add_paths(self, paths: Sequence[str], places: np.ndarray) -> None:
        self._by_path.add(np.array([location_hash(path) for path in paths], np.uint64), places)
        for path in paths:
            self._skipped.pop(path, None)


def _file(file: Source | Row | Skipped | Member) -> tuple[int, int]:
    """What tells whether a file is as it was."""
    return file.size_bytes, file.mtime_ns % 2**64


def _row(found: np.void | None) -> StoredRow | None:
    if found is None:
        return None
    chunk, row, size, mtime, content = found.item()
    return StoredRow(chunk, row, f"{content:016x}", (size, mtime))
