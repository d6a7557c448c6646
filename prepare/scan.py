"""What the roots of a collection hold on the disk now, and what hides a file that is absent."""

import heapq
import os
from collections.abc import Callable, Container, Iterable, Sequence
from functools import cache
from itertools import groupby, repeat, starmap
from pathlib import Path
from typing import NamedTuple

from common.config import Loaded
from common.errors import ConfigError
from common.files import absolute_name, name_of
from prepare.left_out import printable, summary
from prepare.lines import Spill
from prepare.sources import Found, Source, find_sources, walk_of


class RootScan(NamedTuple):
    """What a root holds."""

    root: str
    found: Found
    problem: str | None = None
    """Why nothing of the root could be read."""


class Obstacle(NamedTuple):
    """What may hide absent files; a folder that is empty counts from `least` files on."""

    reason: str
    least: int


MANY = 10
"""Fewer images than this may leave a folder or a root without a question."""


class Listed(NamedTuple):
    """A file of the collection, as the last of its roots tells of it."""

    source: Source
    roots: tuple[str, ...]


def scan_roots(
    names: Sequence[str],
    loaded: Loaded,
    new: Container[str],
    added: Container[str],
    spill: Spill | None = None,
) -> list[RootScan]:
    """Look through roots. Raises ConfigError for one in `new` that cannot be read.

    Also for one in `added` that has no image.
    """
    paths = [loaded.root / name for name in names]
    walk, spill = walk_of(paths, loaded.config.prepare), spill or Spill()
    scans = []
    for name, path in zip(names, paths, strict=True):
        try:
            found = find_sources(path, loaded.root, walk, spill)
        except ConfigError as error:
            if name in new:
                raise
            found = Found([], [], {absolute_name(path)})
            scans.append(RootScan(name, found, str(error)))
            continue
        if name in added:
            _check_holds_images(path, found)
        scans.append(RootScan(name, found))
    return scans


def _check_holds_images(path: Path, found: Found) -> None:
    """Raise ConfigError for a folder without images, and for a list of files that are not there."""
    sources = found.sources
    if not sources:
        told = summary(found.left_out)
        raise ConfigError(f"there are no images in {path}{told and f'; {told}'}")
    if path.is_file() and not any(source.is_there for source in sources):
        raise ConfigError(
            f"there are no images in {path}: it was read as a list, and of the {len(sources)} files"
            f" that it names none is there, such as {printable(sources[0].path)}."
            " A list (.txt) has the path of an image on each line. Name an image, or its folder"
        )


def merged(scans: Iterable[RootScan], spill: Spill) -> Sequence[Listed]:
    """Each file once, sorted by path, with all its roots."""
    found = (zip(scan.found.sources, repeat((scan.root,))) for scan in scans)
    ordered = heapq.merge(*(starmap(Listed, some) for some in found), key=_path)
    return spill.add(Listed, (_of_all_roots(list(same)) for _, same in groupby(ordered, _path)))


def _path(listed: Listed) -> str:
    return listed.source.path


def _of_all_roots(same: Sequence[Listed]) -> Listed:
    return Listed(same[-1].source, tuple(root for listed in same for root in listed.roots))


def is_below(name: str, names: Container[str]) -> bool:
    """Whether a name, or a folder above it, is in `names`."""
    return name in names or any(str(folder) in names for folder in Path(name).parents)


def obstacle_finder(base: Path, unread: Container[str]) -> Callable[[str], Obstacle | None]:
    """A function of an absent file's name: the folder that may hide it.

    That is a folder that cannot be read, or an empty one: a disk may not be mounted there.
    """

    def find(name: str) -> Obstacle | None:
        for place in (name, *map(str, Path(name).parents)):
            if place in unread:
                return Obstacle(f"{place} cannot be read", 1)
        path = Path(os.path.realpath(base / name))
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return obstacle_at(path.parent)
        except OSError:
            return Obstacle(f"{name_of(path.parent, base)} cannot be read", 1)
        if os.access(path, os.R_OK):
            return None
        return Obstacle(f"files in {name_of(path.parent, base)} cannot be read", 1)

    @cache
    def obstacle_at(folder: Path) -> Obstacle | None:
        """What is wrong with the nearest folder above that exists."""
        try:
            with os.scandir(folder) as entries:
                is_empty = not any(entries)
        except (FileNotFoundError, NotADirectoryError):
            return obstacle_at(folder.parent)
        except OSError:
            return Obstacle(f"{name_of(folder, base)} cannot be read", 1)
        return Obstacle(f"{name_of(folder, base)} is empty", MANY) if is_empty else None

    return find
