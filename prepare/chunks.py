"""The embedding folder: numbered chunks of embedded images, and the journal of finished chunks.

chunk-000001.npy            float32 [rows, dim], unit rows
chunk-000001.rows.jsonl     a `Row` for each vector
chunk-000001.skipped.jsonl  a `Skipped` for each image that could not be embedded
plan-0123456789abcdef/      a plan of chunks (prepare/plans.py), open during a run
journal.jsonl               a `JournalEntry` for each finished chunk; other chunks are ignored
members.jsonl               a `Member` (prepare/members.py) for each file of the collection
collection.json             what the collection was told to hold: `Roots` (prepare/roots.py)
"""

import hashlib
import secrets
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.config import RegionKind
from common.errors import ConfigError
from common.files import move, sha256_of, stamp_of, sweep_temporary, write_synced
from common.wire import Matrix
from inference.messages import Region
from prepare.journal import JOURNAL, JournalEntry, append_entries, read_entries
from prepare.lines import read_lines, replace_lines, write_lines
from prepare.plans import PlanFolder, open_plans, sweep_unplanned
from prepare.tables import Scalar

VectorsOf = Callable[[int], Matrix]
"""Gives the vectors of a chunk, float32 [rows, dim]."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """An embedded image, as its file was then; hashes in hex."""

    path: str
    size_bytes: int
    mtime_ns: int
    content: str
    perceptual: str
    metadata: dict[str, Scalar] = {}
    """Of chunks of earlier releases alone: members have it now."""
    facts: dict[str, str] = {}
    """What its EXIF tells, `taken` and `camera`: nothing in chunks of earlier releases."""
    region: Region | None = None
    """The part of the image that is embedded; None for all of it."""


class Skipped(msgspec.Struct, frozen=True):
    """An image that was not embedded, and why."""

    path: str
    size_bytes: int
    mtime_ns: int
    reason: str
    again: bool = False
    """Whether the next run tries the image again: the reason was a disk error or a limit."""


class ChunkPlan(msgspec.Struct, frozen=True):
    """The head of a plan of chunks: task i makes chunk `first` + i, if there is anything new."""

    space: str
    first: int
    regions: RegionKind
    """The regions to embed; "none" for whole images."""
    sizes: list[int]
    """The images of each task."""


class ChunkResult(msgspec.Struct, frozen=True):
    """The result of a task of such a plan."""

    entry: JournalEntry | None
    """None if there was nothing new."""
    stem: str
    """How the names of its files in the folder of the plan begin."""
    copies: list[tuple[str, str]]
    """The paths of files whose content has an embedding elsewhere, and the hash of that, in hex."""


class Chunk(NamedTuple):
    """The content of a chunk: `vectors[i]`, float32 [dim], is the embedding of `rows[i]`."""

    vectors: Matrix
    rows: Sequence[Row]
    skipped: Sequence[Skipped]


class EmbeddingFolder:
    """An embedding folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[JournalEntry]:
        """The finished chunks, in the order in which they were finished."""
        return read_entries(self.path / JOURNAL)

    def rows(self, chunk: int) -> list[Row]:
        """The rows of a finished chunk."""
        return read_lines(self._file(chunk, ".rows.jsonl"), Row)

    def skipped(self, chunk: int) -> list[Skipped]:
        """The skipped images of a finished chunk."""
        return read_lines(self._file(chunk, ".skipped.jsonl"), Skipped)

    def vectors(self, entry: JournalEntry) -> Matrix:
        """The vectors of a finished chunk, mapped into memory; raises ConfigError."""
        path = self._file(entry.chunk, ".npy")
        try:
            vectors: Matrix = np.load(path, mmap_mode="r" if entry.rows else None)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        if vectors.shape != (entry.rows, entry.dim):
            raise ConfigError(f"{path} holds {vectors.shape}, not {(entry.rows, entry.dim)}")
        return vectors

    def vectors_of(self, chunks: Container[int]) -> VectorsOf:
        """What gives the vectors of some finished chunks, by number, mapped; raises ConfigError.

        They are let go of after each use: files that are mapped are open, and count as memory.
        """
        entries = {entry.chunk: entry for entry in self.entries() if entry.chunk in chunks}
        for entry in entries.values():
            self.vectors(entry)
        return lambda number: self.vectors(entries[number])

    def stamp(self, chunks: Iterable[int]) -> str:
        """A digest that changes when a file of these finished chunks is written again."""
        suffixes = {entry.chunk: entry.sha256 for entry in self.entries()}
        stamps = [stamp_of(self._file(chunk, each)) for chunk in chunks for each in suffixes[chunk]]
        return hashlib.sha256(str(stamps).encode()).hexdigest()

    def verify(self, chunks: Iterable[int]) -> None:
        """Check the digests of finished chunks; raises ConfigError that names a changed file."""
        entries = {entry.chunk: entry for entry in self.entries()}
        for chunk in chunks:
            for suffix, digest in entries[chunk].sha256.items():
                path = self._file(chunk, suffix)
                if sha256_of(path) != digest:
                    raise ConfigError(
                        f"{path} is not as it was written: delete the chunk's line in {JOURNAL}"
                    )

    def last_chunk(self) -> int:
        """The highest number of a finished chunk; 0 if there is none."""
        return max(self._finished(), default=0)

    def next_chunk(self) -> int:
        """The number of the next chunk: no finished one has it, and none of an open plan."""
        return 1 + max(self._planned() | self._finished(), default=0)

    def write(self, number: int, chunk: Chunk, model: str, space: str) -> JournalEntry:
        """Write the files of a chunk, then its journal line, which makes the chunk finished."""
        stem, entry = write_files(self.path, number, chunk, model, space)
        self._take(self.path / stem, entry)
        append_entries(self.path / JOURNAL, [entry])
        return entry

    def plans(self) -> list[PlanFolder]:
        """The open plans of chunks."""
        return open_plans(self.path)

    def finish(self, plan: PlanFolder) -> dict[int, ChunkResult]:
        """Take up the chunks of a plan that are done, and close the plan; gives results by task."""
        results = {number: plan.result(number, ChunkResult) for number in plan.done()}
        finished, entries = self._finished(), []
        for result in results.values():
            if (entry := result.entry) and entry.chunk not in finished:
                entries.append(entry)
                self._take(plan.path / result.stem, entry)
        append_entries(self.path / JOURNAL, entries)
        plan.close()
        return results

    def drop(self, chunks: Iterable[int]) -> None:
        """Remove finished chunks from the journal."""
        dropped = set(chunks)
        kept = [entry for entry in self.entries() if entry.chunk not in dropped]
        replace_lines(self.path / JOURNAL, kept)

    def sweep(self) -> None:
        """Delete the files of chunks without a journal line: dropped, or left by a killed run.

        Chunks of an open plan are spared, as a run may have been killed while it took them up.
        """
        sweep_temporary(self.path)
        sweep_unplanned(self.path)
        kept = {stem_of(number) for number in self._finished() | self._planned()}
        for path in self.path.glob("chunk-*"):
            if path.name.partition(".")[0] not in kept:
                path.unlink()

    def _finished(self) -> set[int]:
        return {entry.chunk for entry in self.entries()}

    def _planned(self) -> set[int]:
        """The numbers of the chunks of open plans."""
        heads = [plan.head(ChunkPlan) for plan in self.plans()]
        return {head.first + task for head in heads for task in range(len(head.sizes))}

    def _take(self, written: Path, entry: JournalEntry) -> None:
        """Give the files of a chunk their names; they are at `written`, and their suffixes."""
        for suffix in entry.sha256:
            path = written.with_name(f"{written.name}{suffix}")
            if path.exists():  # else a killed run has moved it
                move(path, self._file(entry.chunk, suffix))

    def _file(self, chunk: int, suffix: str) -> Path:
        return self.path / f"{stem_of(chunk)}{suffix}"


def stem_of(chunk: int) -> str:
    """How the names of the files of a chunk begin."""
    return f"chunk-{chunk:06}"


def write_files(
    folder: Path, number: int, chunk: Chunk, model: str, space: str
) -> tuple[str, JournalEntry]:
    """Write the files of a chunk under names that no other writer has, for `EmbeddingFolder`.

    Gives how these names begin, and the journal line.
    """
    writers: dict[str, Callable[[Path], None]] = {
        ".npy": partial(_save_array, array=chunk.vectors),
        ".rows.jsonl": partial(write_lines, lines=chunk.rows),
        ".skipped.jsonl": partial(write_lines, lines=chunk.skipped),
    }
    stem, digests = f"{stem_of(number)}-{secrets.token_hex(4)}", {}
    for suffix, write in writers.items():
        write_synced(folder / f"{stem}{suffix}", write)
        digests[suffix] = sha256_of(folder / f"{stem}{suffix}")
    counts = len(chunk.rows), len(chunk.skipped), chunk.vectors.shape[1]
    return stem, JournalEntry(number, *counts, model, space, digests)


def _save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file; numpy's own writer may report no error when the disk is full."""
    header = np.lib.format.header_data_from_array_1_0(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).data)
