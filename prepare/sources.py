"""The image files of a collection, from folders, lists, CSV tables and Parquet tables."""

import csv
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from common.config import Prepare
from common.errors import ConfigError
from common.files import MAX_IMAGE_BYTES
from prepare.exclude import Exclude
from prepare.left_out import LeftOut
from prepare.links import Links
from prepare.told_paths import add_root
from prepare.walk import Walk

Scalar = str | int | float | bool | None


class Source(msgspec.Struct, frozen=True):
    """An image file that was found; with a `problem`, the file is skipped and not read."""

    path: str
    """Relative to the folder of config.json if the file lies there, else absolute."""
    size_bytes: int
    mtime_ns: int
    metadata: dict[str, Scalar] = {}
    problem: str | None = None


class Found(NamedTuple):
    """What inputs hold: the images, sorted by path, and what is not looked at."""

    sources: list[Source]
    left_out: list[LeftOut]
    roots: set[str]
    """The absolute folders from which answers tell the paths of images."""


def find_sources(inputs: Iterable[Path], root: Path, settings: Prepare | None = None) -> Found:
    """All images of folders, lists (.txt), tables (.csv, .parquet) and files.

    Raises ConfigError for an input that does not exist or cannot be read.
    """
    settings, inputs = settings or Prepare(), list(inputs)
    exclude = Exclude(settings.exclude)
    folders = [str(given) for given in inputs if os.path.isdir(given)]
    walk = Walk(exclude, Links(folders, exclude, follow=settings.follow_links))
    found, roots = {}, set[str]()
    for given in inputs:
        own = os.path.abspath(given if os.path.isdir(given) else given.parent)
        others: dict[str, str] = {}
        for path, metadata in _listed(given, walk):
            source = _examine(path, metadata, root)
            found[source.path] = source
            add_root(others, own, source.path)
        roots |= {own, *others.values()}
    left_out = [left._replace(path=_name(left.path, root)) for left in walk.left_out]
    return Found([found[path] for path in sorted(found)], left_out, roots)


def _listed(given: Path, walk: Walk) -> Iterator[tuple[Path, dict[str, Scalar]]]:
    try:
        if given.is_dir():
            yield from ((Path(path), {}) for path in walk.files(str(given)))
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


def _name(path: str | Path, root: Path) -> str:
    """A path relative to `root` if it lies there, else absolute."""
    name = os.path.abspath(path)
    return os.path.relpath(name, root) if name.startswith(f"{root}{os.sep}") else name


def _examine(path: Path, metadata: dict[str, Scalar], root: Path) -> Source:
    name = _name(path, root)
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
    elif not 0 < found.st_size <= MAX_IMAGE_BYTES:
        problem = "empty" if not found.st_size else f"over {MAX_IMAGE_BYTES} bytes"
    return Source(name, found.st_size, found.st_mtime_ns, metadata, problem)
