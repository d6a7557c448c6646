"""A folder to walk, and what a walk takes and leaves out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.settings.prepare import EXCLUDE
from prepare.exclude import Exclude
from prepare.left_out import LeftOut
from prepare.links import Links
from prepare.walk import Walk

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"


class Walked(NamedTuple):
    """The result of a walk over one root or several, with paths below `top`."""

    taken: list[str]
    left_out: dict[str, LeftOut]


def write(top: Path, *names: str, data: bytes = JPEG) -> None:
    """Write a file for each name below a folder."""
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def walk(
    top: Path,
    *roots: str,
    exclude: Sequence[str] = EXCLUDE,
    follow_links: bool = False,
) -> Walked:
    """Walk roots below a folder, one after the other; the default is the folder itself."""
    paths = [str(top / root) for root in roots or ("",)]
    patterns = Exclude(exclude)
    walked = Walk(patterns, Links(paths, patterns, follow=follow_links))
    taken = [below(top, path) for root in paths for path in walked.files(root)]
    return Walked(taken, {below(top, one.path): one for one in walked.left_out})


def below(top: Path, path: str) -> str:
    """A path below a folder."""
    assert path.startswith(f"{top}/") or path == str(top)
    return path[len(str(top)) + 1 :]


def nest(top: Path, name: str, count: int, data: bytes = JPEG) -> None:
    """Make folders in each other, an image at their end; the path may be longer than any call's."""
    inner = os.open(top, os.O_RDONLY)
    for _ in range(count):
        os.mkdir(name, dir_fd=inner)
        outer, inner = inner, os.open(name, os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    file = os.open("end.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=inner)
    os.write(file, data)
    os.close(file)
    os.close(inner)
