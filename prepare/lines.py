"""Files of JSON lines: a message in each line."""

import heapq
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.files import TEMPORARY, write_whole
from common.wire import UNREADABLE

Line = TypeVar("Line")
Read = TypeVar("Read")

BLOCK_BYTES = 2**20
"""Of a file in which the ends of lines are looked for."""
AT_ONCE = 256
"""Lines that are read at a time, if one is behind the other."""
RUN = 2**14
"""Messages that are sorted in memory; more are merged from so many at a time."""


class OpenFile:
    """A file that is closed when nothing holds it any more."""

    def __init__(self, file: IO[bytes]) -> None:
        """It stays open when `file` is closed."""
        self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)


class Lines(Sequence[Line]):
    """The lines of a file that is open: 16 bytes of memory each, as it is read when asked for.

    Reading raises ConfigError, for a line that cannot be read.
    """

    def __init__(self, file: OpenFile, name: str, kind: type[Line], spans: NDArray[np.int64]):
        """`spans`, [n, 2], are where each line begins and ends."""
        self._file = file
        self._name = name
        self._decoder = msgspec.json.Decoder(kind)
        self._kind = kind
        self._spans = spans

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> "Lines[Line]": ...
    def __getitem__(self, at: int | slice) -> "Line | Lines[Line]":
        if isinstance(at, slice):
            return self._part(self._spans[at])
        return self._read(self._decoder.decode, *self._spans[at].tolist())

    def __iter__(self) -> Iterator[Line]:
        for first in range(0, len(self._spans), AT_ONCE):
            spans = self._spans[first : first + AT_ONCE]
            if (spans[1:, 0] == spans[:-1, 1]).all():
                yield from self._read(self._decoder.decode_lines, spans[0, 0], spans[-1, 1])
            else:
                yield from (self._read(self._decoder.decode, *span) for span in spans.tolist())

    def __len__(self) -> int:
        return len(self._spans)

    def take(self, order: NDArray[np.integer]) -> "Lines[Line]":
        """The lines at some places, in their order."""
        return self._part(self._spans[order])

    def _part(self, spans: NDArray[np.int64]) -> "Lines[Line]":
        return Lines(self._file, self._name, self._kind, spans)

    def _read(self, decode: Callable[[bytes], Read], start: int, end: int) -> Read:
        try:
            return decode(os.pread(self._file.descriptor, end - start, start))
        except UNREADABLE as error:
            raise ConfigError(f"{self._name} cannot be read: {error}") from None


def lines_of(messages: Iterable[Any]) -> bytes:
    """Messages as lines."""
    return msgspec.json.Encoder().encode_lines(list(messages))


def write_lines(path: Path, lines: Iterable[Any]) -> None:
    """Write a file with these lines."""
    with path.open("wb") as file:
        _write(file, lines)


def replace_lines(path: Path, lines: Iterable[Any]) -> None:
    """Replace a file by one with these lines, in one step."""
    write_whole(path, lambda temporary: write_lines(temporary, lines))


def read_lines(path: Path, kind: type[Line], begin: int = 0) -> list[Line]:
    """The lines of a file from a byte on, but for an unfinished last line; raises ConfigError."""
    try:
        data = path.read_bytes()
        return msgspec.json.Decoder(kind).decode_lines(data[begin : data.rfind(b"\n") + 1])
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing") from None
    except UNREADABLE as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def open_lines(path: Path, kind: type[Line], begin: int = 0) -> Lines[Line]:
    """Open a file to read its lines as `read_lines` does; raises ConfigError."""
    try:
        with path.open("rb") as file:
            return _opened(file, str(path), kind, begin)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


class Spill:
    """A temporary file for lines that are too many for the memory.

    It is gone when neither it nor any of its lines are held any more.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """The file lies in a folder, else where the system has its temporary files."""
        with TemporaryFile(dir=folder, suffix=TEMPORARY) as file:
            self._file = OpenFile(file)

    def add(self, kind: type[Line], lines: Iterable[Line]) -> Lines[Line]:
        """Write lines, to be read from there."""
        begin = os.lseek(self._file.descriptor, 0, os.SEEK_END)
        with open(self._file.descriptor, "r+b", closefd=False) as file:
            _write(file, lines)
            file.flush()
            return _opened(file, "a temporary file", kind, begin)

    def sort(
        self, kind: type[Line], lines: Iterable[Line], key: Callable[[Line], Any]
    ) -> Iterator[Line]:
        """Lines sorted by a key, equal ones as they came, of which few are in memory."""
        left = iter(lines)
        runs = iter(lambda: sorted(islice(left, RUN), key=key), [])
        there = self.add(kind, chain.from_iterable(runs))
        parts = (there[start : start + RUN] for start in range(0, len(there), RUN))
        return heapq.merge(*parts, key=key)


def _opened(file: IO[bytes], name: str, kind: type[Line], begin: int = 0) -> Lines[Line]:
    file.seek(begin)
    ends, at = [np.array([begin])], begin
    while block := file.read(BLOCK_BYTES):
        newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        ends.append(newlines + (at + 1))
        at += len(block)
    bounds = np.concatenate(ends)
    spans = np.stack([bounds[:-1], bounds[1:]], axis=1)
    return Lines(OpenFile(file), name, kind, spans[np.diff(bounds) > 1])  # not the empty ones


def _write(file: IO[bytes], lines: Iterable[Any]) -> None:
    encode = msgspec.json.Encoder().encode
    file.writelines(encode(line) + b"\n" for line in lines)
