"""The loading of a shard: versions share the segments that they have in common."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from search.ann_index import Numbers
from search.index import is_exact, load_segment
from search.manifest import BadIndex, Folders, Manifest, verify
from search.segment import Segment
from search.segment_files import SegmentFiles, ShardFiles


class SegmentKey(NamedTuple):
    """What makes two loaded segments the same: their files, and how they are searched."""

    name: str
    is_exact: bool


Segments = dict[SegmentKey, Segment]
"""Of a shard, the oldest first, or of several shards."""


def load_shard(
    folders: Folders, manifest: Manifest, number: int, known: Mapping[SegmentKey, Segment]
) -> Segments:
    """The segments of a shard with their tombstones; only what is not `known` is loaded.

    The caller puts them in use. Raises BadIndex, MissingPackage.
    """
    files, total = manifest.shards[number], manifest.count + manifest.regions
    tombstones = _read_tombstones(folders, manifest.version, files)
    return load_segments(folders, files.segments, tombstones, (manifest.dim, total), known)


def load_segments(
    folders: Folders,
    segments: Sequence[SegmentFiles],
    tombstones: Numbers,
    size: tuple[int, int],
    known: Mapping[SegmentKey, Segment],
) -> Segments:
    """Segments with `tombstones`, which are counted through them: see `load_shard`.

    `size` is the dimension and the number of vectors of the whole index.
    """
    loaded: Segments = {}
    dim, total = size
    ends = np.cumsum([segment.count for segment in segments])
    parts = np.split(tombstones, np.searchsorted(tombstones, ends[:-1]))
    for files, rows, start in zip(segments, parts, [0, *ends[:-1]], strict=True):
        key = SegmentKey(files.name, is_exact(total))
        segment = known.get(key) or load_segment(folders, dim, files, total)
        loaded[key] = segment.of_version(rows - start)
    return loaded


def _read_tombstones(folders: Folders, version: str, files: ShardFiles) -> Numbers:
    """The tombstones of a shard; raises BadIndex."""
    if files.tombstones is None:
        return np.empty(0, np.int64)
    path = verify(folders.index / version, files.tombstones)
    try:
        rows = np.fromfile(path, "<u4").astype(np.int64)
    except OSError as error:
        raise BadIndex(f"{path}: {error}") from None
    if rows.max(initial=0) >= sum(segment.count for segment in files.segments):
        raise BadIndex(f"{path}: of another shard")
    return rows
