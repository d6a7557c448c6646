"""What is stored of files: the embeddings of one model, by path and by content."""

from collections.abc import Iterable
from typing import NamedTuple

from prepare.chunks import ChunkResult, EmbeddingFolder, Row, Skipped
from prepare.journal import JournalEntry
from prepare.members import Member
from prepare.sources import Source


class StoredRow(NamedTuple):
    """The stored result of a file: its row in a finished chunk, or why it was skipped (row -1)."""

    chunk: int
    row: int
    told: Row | Skipped

    @property
    def content(self) -> str:
        """The content hash, in hex; "" of a skipped file."""
        return self.told.content if isinstance(self.told, Row) else ""

    def member(self, source: Source, roots: tuple[str, ...], told_from: int) -> Member:
        """The member that a file with this result is."""
        return Member(
            *(source.path, source.size_bytes, source.mtime_ns, self.chunk, self.row),
            content=self.content,
            roots=roots,
            metadata=source.metadata if isinstance(self.told, Row) else {},
            told_from=told_from,
        )


class StoredRows:
    """The finished chunks of one model."""

    def __init__(self, folder: EmbeddingFolder, space: str) -> None:
        self.by_content: dict[str, StoredRow] = {}
        self._by_path: dict[str, StoredRow] = {}
        self._folder = folder
        self._space = space
        for entry in folder.entries():
            self._add_chunk(entry)

    def add(self, chunk: int, rows: Iterable[Row], skipped: Iterable[Skipped] = ()) -> None:
        """Take up a finished chunk."""
        for number, row in enumerate(rows):
            stored = StoredRow(chunk, number, row)
            self._by_path[row.path] = self.by_content[row.content] = stored
        for told in skipped:
            self._by_path[told.path] = StoredRow(chunk, -1, told)

    def add_results(self, results: Iterable[ChunkResult]) -> None:
        """Take up what tasks have made, and the copies of stored content that they have found."""
        for result in results:
            if result.entry:
                self._add_chunk(result.entry)
            for path, content in result.copies:
                if content in self.by_content:  # else the plan was for another model
                    self._by_path[path] = self.by_content[content]

    def _add_chunk(self, entry: JournalEntry) -> None:
        if entry.space == self._space:
            self.add(entry.chunk, self._folder.rows(entry.chunk), self._folder.skipped(entry.chunk))

    def of(self, path: str) -> StoredRow:
        """The newest result of a path; raises KeyError."""
        return self._by_path[path]

    def unchanged(self, source: Source, member: Member | None) -> StoredRow | None:
        """The result of a file that need not be read: it is as it was by size and time.

        `member` is the image at its path after the last run.
        """
        stored = self._by_path.get(source.path)
        if stored and not _is_as(source, stored.told):
            stored = None
        if stored and isinstance(stored.told, Skipped):
            is_known = source.problem in (None, stored.told.reason)
            return stored if is_known and not stored.told.again else None
        if source.problem:
            return None
        if member and _is_as(source, member) and member.content in self.by_content:
            return self.by_content[member.content]
        return stored


def _is_as(source: Source, stored: Row | Skipped | Member) -> bool:
    return (stored.size_bytes, stored.mtime_ns) == (source.size_bytes, source.mtime_ns)
