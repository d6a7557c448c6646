"""The image files of a collection, from folders, tars, lists, tables and by name."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from common.config import Prepare
from common.errors import ConfigError
from common.files import MAX_IMAGE_BYTES, absolute_name, name_of
from common.image_files import TAR, state_of
from prepare import tables, tars
from prepare.exclude import Exclude
from prepare.left_out import LeftOut
from prepare.lines import Spill
from prepare.links import Links
from prepare.tables import Scalar
from prepare.told_paths import add_root
from prepare.walk import Walk


class Source(msgspec.Struct, frozen=True):
    """An image file that was found; with a `problem`, the file is skipped and not read."""

    path: str
    """Relative to the folder of config.json if the file lies there, else absolute."""
    size_bytes: int
    mtime_ns: int
    metadata: dict[str, Scalar] = {}
    problem: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether the file could be looked at."""
        return not self.problem or bool(self.mtime_ns)


PATH: Callable[[Any], str] = attrgetter("path")


class Found(NamedTuple):
    """What an input holds."""

    sources: Sequence[Source]
    """The images, sorted by path."""
    left_out: list[LeftOut]
    """What is not looked at."""
    roots: set[str]
    """The absolute folders from which answers tell the paths of images."""


def walk_of(inputs: Iterable[Path], settings: Prepare) -> Walk:
    """The walk over all inputs that are folders, which knows links between them."""
    exclude = Exclude(settings.exclude)
    folders = [str(given) for given in inputs if os.path.isdir(given)]
    return Walk(exclude, Links(folders, exclude, follow=settings.follow_links))


def find_sources(
    given: Path, root: Path, walk: Walk | None = None, spill: Spill | None = None
) -> Found:
    """All images of a folder, a tar, a list (.txt) or a table, or a file itself.

    `root` is the folder of config.json; `walk` and `spill` are those of all inputs of a run. Raises
    ConfigError for an input that does not exist or cannot be read.
    """
    walk, spill = walk or walk_of([given], Prepare()), spill or Spill()
    begin = len(walk.left_out)
    own = absolute_name(given if os.path.isdir(given) else given.parent)
    others: dict[str, str] = {}

    def examined() -> Iterator[Source]:
        for path, metadata in _listed(given, walk):
            source = examine(path, metadata, root)
            add_root(others, own, source.path)
            yield source

    ordered = spill.sort(Source, examined(), PATH)
    sources = spill.add(Source, (list(same)[-1] for _, same in groupby(ordered, PATH)))
    left_out = [left._replace(path=name_of(left.path, root)) for left in walk.left_out[begin:]]
    return Found(sources, left_out, {own, *others.values()})


def _listed(given: Path, walk: Walk) -> Iterator[tuple[Path, dict[str, Scalar]]]:
    try:
        if given.is_dir():
            yield from ((Path(path), {}) for path in walk.files(str(given)))
        elif given.suffix.lower() in tables.SUFFIXES:
            yield from tables.read_table(given)
        elif given.suffix.lower() == TAR:
            yield from tars.read_tar(given, walk.exclude, walk.left_out)
        elif given.name.lower().endswith(tars.COMPRESSED):
            raise ConfigError(f"{given} is compressed: unpack it to a .tar, or to a folder")
        elif given.suffix.lower() == ".txt":
            lines = given.read_text(encoding="utf-8-sig").splitlines()
            yield from ((given.parent / line, {}) for line in lines if line.strip())
        elif given.exists():
            yield given, {}
        else:
            raise ConfigError(f"there is no folder, list or image {given}")
    except (OSError, ValueError, csv.Error) as error:  # ValueError: also a table that changes
        raise ConfigError(f"cannot read {given}: {error}") from None


def examine(path: Path, metadata: dict[str, Scalar], root: Path) -> Source:
    """A file as it is now."""
    name = name_of(path, root)
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode(errors="backslashreplace")
        return Source(shown, 0, 0, problem="the name is not UTF-8")
    try:
        found = state_of(path)
    except (OSError, ValueError) as error:  # ValueError: a listed path holds a null byte
        return Source(name, 0, 0, metadata, getattr(error, "strerror", None) or "cannot be read")
    problem = None
    if not found.is_regular:
        problem = "not a regular file"
    elif not 0 < found.size_bytes <= MAX_IMAGE_BYTES:
        problem = "empty" if not found.size_bytes else f"over {MAX_IMAGE_BYTES} bytes"
    return Source(name, found.size_bytes, found.mtime_ns, metadata, problem)
