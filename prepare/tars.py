"""The images of a tar, and what lies beside them, as webdataset and img2dataset write it.

Files whose names agree up to the first dot belong together: owl.jpg is the image, owl.json its
metadata, owl.txt its caption.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.image_files import members_of, read_image_file
from common.images.formats import ENDINGS
from prepare.exclude import Exclude
from prepare.left_out import LeftOut
from prepare.tables import Scalar, scalar
from prepare.walk import ending_of

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Endings of tars in which nothing is found without unpacking all that comes before it."""

_object = msgspec.json.Decoder(dict[str, Any])


def read_tar(
    tar: Path, exclude: Exclude, left_out: list[LeftOut]
) -> Iterator[tuple[Path, dict[str, Scalar]]]:
    """The path and the metadata of each image of a tar, and what else is in it into `left_out`.

    Raises OSError.
    """
    names = []
    for name in members_of(tar):
        if pattern := exclude.leaves_out(name, is_folder=False):
            left_out.append(LeftOut(str(tar / name), "excluded file", pattern))
        else:
            names.append(name)
    images = [name for name in names if ending_of(name) in ENDINGS]
    beside = {_key(name) + ending for name in images for ending in BESIDE}
    others = set(names).difference(images)
    for name in others - beside:
        left_out.append(LeftOut(str(tar / name), "ending", ending_of(name)))
    for name in images:
        yield tar / name, _metadata(tar, _key(name), others, left_out)


def _metadata(
    tar: Path, key: str, names: Collection[str], left_out: list[LeftOut]
) -> dict[str, Scalar]:
    """What lies beside an image; a file that cannot be read is told in `left_out`."""
    found: dict[str, Scalar] = {}
    for ending, read in BESIDE.items():
        if (name := key + ending) in names:
            try:
                found |= read(read_image_file(tar / name))
            except (OSError, ValueError, RecursionError) as error:
                left_out.append(LeftOut(str(tar / name), "error", str(error)))
    return found


def _caption(data: bytes) -> dict[str, Scalar]:
    return {"caption": data.decode().strip()}


def _fields(data: bytes) -> dict[str, Scalar]:
    return {field: scalar(value) for field, value in _object.decode(data).items()}


BESIDE = {".txt": _caption, ".json": _fields}
"""What reads the files beside an image, by their ending. A caption in JSON counts."""


def _key(name: str) -> str:
    """The name of a file up to the first dot of its last part."""
    folder, file = os.path.split(name)
    return os.path.join(folder, file.split(".", 1)[0])
