"""The embedding folder: numbered chunks of embedded images, and the journal of finished chunks.

chunk-000001.npy            float32 [rows, dim], unit rows
chunk-000001.rows.jsonl     a `Row` for each vector
chunk-000001.skipped.jsonl  a `Skipped` for each image that could not be embedded
journal.jsonl               a `JournalEntry` for each finished chunk; other chunks are ignored
members.jsonl               a `Member` (prepare/members.py) for each file of the collection
collection.json             what the collection was told to hold: `Roots` (prepare/roots.py)
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.files import replace_bytes, sha256_of, sweep_temporary, write_whole
from common.wire import UNREADABLE, Matrix
from inference.messages import Region
from prepare.tables import Scalar

JOURNAL = "journal.jsonl"
Line = TypeVar("Line")


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
        return read_lines(self.path / JOURNAL, JournalEntry)

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

    def next_chunk(self) -> int:
        """The number of the next chunk."""
        return 1 + max((entry.chunk for entry in self.entries()), default=0)

    def write(self, number: int, chunk: Chunk, model: str, space: str) -> JournalEntry:
        """Write the files of a chunk, then its journal line, which makes the chunk finished."""
        dim = chunk.vectors.shape[1]
        files: dict[str, Callable[[Path], None]] = {
            ".npy": lambda path: _save_array(path, chunk.vectors),
            ".rows.jsonl": partial(_write_lines, lines=chunk.rows),
            ".skipped.jsonl": partial(_write_lines, lines=chunk.skipped),
        }
        for suffix, write in files.items():
            write_whole(self._file(number, suffix), write)
        digests = {suffix: sha256_of(self._file(number, suffix)) for suffix in files}
        entry = JournalEntry(
            number, len(chunk.rows), len(chunk.skipped), dim, model, space, digests
        )
        self._append(entry)
        return entry

    def drop(self, chunks: Iterable[int]) -> None:
        """Remove finished chunks from the journal."""
        dropped = set(chunks)
        kept = [entry for entry in self.entries() if entry.chunk not in dropped]
        replace_lines(self.path / JOURNAL, kept)

    def sweep(self) -> None:
        """Delete the files of chunks without a journal line: dropped, or left by a killed run."""
        sweep_temporary(self.path)
        finished = {f"chunk-{entry.chunk:06}" for entry in self.entries()}
        for path in self.path.glob("chunk-*"):
            if path.name.partition(".")[0] not in finished:
                path.unlink()

    def _file(self, chunk: int, suffix: str) -> Path:
        return self.path / f"chunk-{chunk:06}{suffix}"

    def _append(self, entry: JournalEntry) -> None:
        """Append a journal line, after cutting off a line that a kill left unfinished."""
        with (self.path / JOURNAL).open("a+b") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(_lines([entry]))
            file.flush()
            os.fsync(file.fileno())


def _save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file; numpy's own writer may report no error when the disk is full."""
    header = np.lib.format.header_data_from_array_1_0(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).data)


def _lines(lines: Iterable[Any]) -> bytes:
    return msgspec.json.Encoder().encode_lines(list(lines))


def _write_lines(path: Path, lines: Iterable[Any]) -> None:
    path.write_bytes(_lines(lines))


def replace_lines(path: Path, lines: Iterable[Any]) -> None:
    """Replace a file by one with these lines, in one step."""
    replace_bytes(path, _lines(lines))


def read_lines(path: Path, kind: type[Line], begin: int = 0) -> list[Line]:
    """The lines of a file from a byte on, but for an unfinished last line; raises ConfigError."""
    try:
        data = path.read_bytes()
        return msgspec.json.Decoder(kind).decode_lines(data[begin : data.rfind(b"\n") + 1])
    except FileNotFoundError:
        if path.name == JOURNAL:
            return []
        raise ConfigError(f"{path} is missing") from None
    except UNREADABLE as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
