"""The image files of a collection, from folders, lists, CSV tables and Parquet tables."""

import csv
import logging
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.errors import ConfigError
from common.images.formats import ENDINGS

MAX_FILE_BYTES = 512 * 2**20

log = logging.getLogger(__name__)

Scalar = str | int | float | bool | None


class Source(msgspec.Struct, frozen=True):
    """An image file that was found; with a `problem`, the file is skipped and not read."""

    path: str
    """Relative to the folder of config.json if the file lies there, else absolute."""
    size_bytes: int
    mtime_ns: int
    metadata: dict[str, Scalar] = {}
    problem: str | None = None


def find_sources(inputs: Iterable[Path], root: Path) -> list[Source]:
    """All images of folders, lists (.txt), tables (.csv, .parquet) and files, sorted by path.

    Raises ConfigError for an input that does not exist or cannot be read.
    """
    found = {}
    for given in inputs:
        for path, metadata in _listed(given):
            source = _examine(path, metadata, root)
            found[source.path] = source
    return [found[path] for path in sorted(found)]


def _listed(given: Path) -> Iterator[tuple[Path, dict[str, Scalar]]]:
    try:
        if given.is_dir():
            yield from ((path, {}) for path in _walk(given))
        elif given.suffix == ".csv":
            with given.open(newline="", encoding="utf-8-sig") as file:
                yield from _rows(csv.DictReader(file), given)
        elif given.suffix == ".parquet":
            yield from _rows(_parquet(given), given)
        elif given.suffix == ".txt":
            lines = given.read_text(encoding="utf-8-sig").splitlines()
            yield from ((given.parent / line, {}) for line in lines if line.strip())
        elif given.exists():
            yield given, {}
        else:
            raise ConfigError(f"there is no folder, list or image {given}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {given}: {error}") from None


def _walk(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder, onerror=_warn):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in ENDINGS:
                yield Path(where, name)


def _warn(error: OSError) -> None:
    log.warning("left out %s: %s", error.filename, error.strerror)


def _rows(rows: Iterable[dict[str, Any]], table: Path) -> Iterator[tuple[Path, dict[str, Scalar]]]:
    """The path and the metadata of each row; `path` is relative to the folder of the table."""
    for row in rows:
        path = row.pop("path", None)
        if not path or not isinstance(path, str):
            raise ConfigError(f"{table} has no column `path` of text, or a row without it")
        yield table.parent / path, {str(name): _scalar(value) for name, value in row.items()}


def _scalar(value: Any) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN and no infinity
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _parquet(path: Path) -> Iterable[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs: pip install pyarrow") from None
    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except ArrowException as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    return rows


def _examine(path: Path, metadata: dict[str, Scalar], root: Path) -> Source:
    name = os.path.abspath(path)
    if name.startswith(f"{root}{os.sep}"):
        name = os.path.relpath(name, root)
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode(errors="backslashreplace")
        return Source(shown, 0, 0, problem="the name is not UTF-8")
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a listed path holds a null byte
        return Source(name, 0, 0, metadata, getattr(error, "strerror", None) or "cannot be read")
    problem = None
    if not stat.S_ISREG(found.st_mode):
        problem = "not a regular file"
    elif not 0 < found.st_size <= MAX_FILE_BYTES:
        problem = "empty" if not found.st_size else f"over {MAX_FILE_BYTES} bytes"
    return Source(name, found.st_size, found.st_mtime_ns, metadata, problem)
