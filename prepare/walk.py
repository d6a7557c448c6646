"""The image files below a folder: what is taken, what is left out and why."""

import mimetypes
import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple

from common.images.formats import ENDINGS, HEAD_BYTES, format_of
from prepare.exclude import Exclude
from prepare.left_out import Kind, LeftOut
from prepare.links import Links

OTHER_ENDINGS = {
    ending
    for ending, kind in mimetypes.MimeTypes().types_map[True].items()  # the same on all machines
    if not kind.startswith("image/") and kind != "application/octet-stream"
}
"""Endings of texts, films, music and the like: such files are not opened."""
_ENDING = re.compile(r"\.[\w~!@-]{1,12}")


class Place(NamedTuple):
    """A file or folder that was found."""

    path: str
    real: str
    """Its path without links."""
    inside: str
    """Its path from the root."""
    is_link: bool
    is_folder: bool


class Walk:
    """Walks roots, and notes what it leaves out."""

    def __init__(self, exclude: Exclude, links: Links) -> None:
        self.left_out: list[LeftOut] = []
        self.exclude = exclude
        self._links = links

    def files(self, root: str) -> Iterator[str]:
        """The paths of the image files below a root."""
        waiting = [Place(root, os.path.realpath(root), "", False, True)]
        while waiting:
            folder = waiting.pop()
            found = [self._take(folder, entry) for entry in self._entries(folder)]
            yield from (place.path for place in found if place and not place.is_folder)
            waiting += reversed([place for place in found if place and place.is_folder])

    def _entries(self, folder: Place) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder.path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._leave_out(folder.path, "error", error.strerror or "cannot be read")
            return []

    def _take(self, folder: Place, entry: os.DirEntry[str]) -> Place | None:
        """What an entry of a folder adds, if anything."""
        inside = os.path.join(folder.inside, entry.name)
        try:
            place = _place(folder, entry, inside)
            return place if self._is_taken(place) else None
        except OSError as error:
            if self._is_excluded(entry.path, inside, is_folder=False):
                return None
            if ending_of(entry.name) in ENDINGS:  # whoever reads it tells why it cannot be read
                return Place(entry.path, entry.path, inside, False, False)
            kind: Kind = "broken" if entry.is_symlink() else "error"
            self._leave_out(entry.path, kind, error.strerror or "cannot be read")
            return None

    def _is_taken(self, place: Place) -> bool:
        if self._is_excluded(place.path, place.inside, is_folder=place.is_folder):
            return False
        if place.is_link:
            way = self._links.follow(place.real, place.inside, is_folder=place.is_folder)
            if way == "out":
                self._leave_out(place.path, "link", place.real)
            if way != "follow":
                return False
        elif self._links.has(place.real):
            return False
        return place.is_folder or self._is_image(place)

    def _is_excluded(self, path: str, inside: str, *, is_folder: bool) -> bool:
        pattern = self.exclude.pattern_of(inside, is_folder=is_folder)
        if pattern:
            self._leave_out(path, "excluded folder" if is_folder else "excluded file", pattern)
        return pattern is not None

    def _is_image(self, place: Place) -> bool:
        """Whether a file is an image by its ending, else by its first bytes; raises OSError."""
        ending = ending_of(place.path)
        if ending in ENDINGS:
            return True
        if ending not in OTHER_ENDINGS:
            if not stat.S_ISREG(os.stat(place.real).st_mode):
                self._leave_out(place.path, "special", "not a regular file")
                return False
            if _begins_as_image(place.real):
                return True
        self._leave_out(place.path, "ending", ending)
        return False

    def _leave_out(self, path: str, kind: Kind, detail: str) -> None:
        self.left_out.append(LeftOut(path, kind, detail))


def _place(folder: Place, entry: os.DirEntry[str], inside: str) -> Place:
    """What an entry is; raises OSError for a link that leads nowhere."""
    if not entry.is_symlink():
        real = os.path.join(folder.real, entry.name)
        return Place(entry.path, real, inside, False, entry.is_dir())
    real = os.path.realpath(entry.path, strict=True)
    return Place(entry.path, real, inside, True, os.path.isdir(real))


def ending_of(path: str) -> str:
    """The ending of a name in lower case, with its dot; "" for none, or nothing like one."""
    ending = os.path.splitext(path)[1].lower()
    return ending if _ENDING.fullmatch(ending) else ""


def _begins_as_image(path: str) -> bool:
    """Whether the first bytes of a file are those of an image; raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never waits for a FIFO
    try:
        return format_of(os.read(file, HEAD_BYTES)) is not None
    finally:
        os.close(file)
