"""A segment of a shard as files: built, written whole, and named by their digest."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.files import move, replace_bytes, sync, write_whole
from common.wire import Matrix
from search import canaries
from search.ann_index import Build
from search.distinct import groups_of
from search.fields import pack
from search.image_key import Keys
from search.index import ann_module, load_ann
from search.manifest import SEGMENTS, Folders
from search.messages import Fields, Record
from search.regions import NO_REGIONS, RegionRows
from search.segment_files import File, SegmentFiles, describe

NAME_DIGITS = 32
"""Of the digest that names a segment."""


class SegmentRows(NamedTuple):
    """Images of a shard, sorted by key: what `write_segment` takes."""

    vectors: Matrix
    keys: Keys
    records: Sequence[Record]
    regions: RegionRows = NO_REGIONS


def write_segment(
    folders: Folders,
    version: str,
    shard: int,
    rows: SegmentRows,
    build: Build,
    fields: Fields | None = None,
) -> SegmentFiles:
    """Build a segment of a shard for a version, with columns of `fields`.

    The files get their names when they are whole: until then they lie in the folders of the
    version, where the next run finds what a killed run has left. The new index is loaded once, to
    draw its canaries. Raises BadIndex, ConfigError, MissingPackage.
    """
    stem = f"shard-{shard:03}-{secrets.token_hex(4)}"  # others may build it, too
    index, paths, hashes = (folder / version / stem for folder in folders.all())
    count = len(rows.vectors)
    vectors, regions = rows.vectors, rows.regions
    if len(regions.places):
        vectors = np.concatenate([vectors, regions.vectors])
    packed = [msgspec.msgpack.encode(record) for record in rows.records]
    offsets = np.zeros(count + 1, dtype="<i8")
    offsets[1:] = np.cumsum([len(record) for record in packed])
    written = {
        **_write_index(index, vectors, build),
        "records": paths.with_suffix(".records"),
        "offsets": paths.with_suffix(".offsets"),
        "columns": paths.with_suffix(".columns"),
        "hashes": hashes.with_suffix(".keys"),
    }
    if len(regions.places):
        written["regions"] = paths.with_suffix(".regions")
        replace_bytes(written["regions"], regions.places.tobytes())
    write_whole(written["records"], lambda path: _write_all(path, packed))
    replace_bytes(written["offsets"], offsets.tobytes())
    replace_bytes(written["columns"], pack(rows.records, fields or {}))
    replace_bytes(written["hashes"], rows.keys.tobytes())
    name, files = _move(folders, version, written)
    return SegmentFiles(name=name, count=count, kind=build.kind, fields=fields or {}, **files)


def write_tombstones(
    folders: Folders, version: str, shard: int, rows: NDArray[np.uint32]
) -> File | None:
    """Write the tombstones of a shard, if any; rows are counted through its segments."""
    if not len(rows):
        return None
    path = folders.index / version / f"shard-{shard:03}.tombstones"
    replace_bytes(path, rows.astype("<u4").tobytes())
    return describe(path)


def _write_index(path: Path, vectors: Matrix, build: Build) -> dict[str, Path]:
    """Write an index, in which equal vectors are linked once, and its canaries; gives the files."""
    groups = groups_of(vectors)
    distinct = vectors[groups.firsts] if groups else vectors
    paths = ann_module(build.kind).write(path.parent, path.name, distinct, build)
    ann = load_ann(build.kind, paths, vectors.shape[1], len(vectors), groups)
    written = {"index": paths.index_path, "canaries": path.with_suffix(".canaries")}
    replace_bytes(
        written["canaries"], msgspec.msgpack.encode(canaries.draw(vectors, ann, build.ef))
    )
    if paths.vectors_path:
        written["vectors"] = paths.vectors_path
    if groups:
        written["distinct"] = path.with_suffix(".distinct")
        replace_bytes(written["distinct"], groups.nodes.tobytes())
    return written


def _move(
    folders: Folders, version: str, written: Mapping[str, Path]
) -> tuple[str, dict[str, File]]:
    """Move the files of a segment to those of all versions; gives its name and theirs.

    The name of the version is in the digest, as another index may share one of the folders. The
    first file to move is one of the folder of indexes, by which `sweep_segments` finds the others.
    """
    files = {kind: describe(path) for kind, path in written.items()}
    digests = [version, *(file.sha256 for file in files.values())]
    name = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:NAME_DIGITS]
    for folder in folders.all():
        (folder / SEGMENTS).mkdir(exist_ok=True)
        sync(folder)
    for kind, path in written.items():
        files[kind] = msgspec.structs.replace(files[kind], name=name + path.suffix)
        move(path, path.parents[1] / SEGMENTS / files[kind].name)
    return name, files


def _write_all(path: Path, parts: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(parts)
