"""The loading of a shard: versions share the segments that they have in common."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from search.ann_index import Numbers
from search.index import is_exact, load_segment
from search.manifest import BadIndex, Folders, Manifest, verify
from search.segment import Segment
from search.segment_files import ShardFiles


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
    segments: Segments = {}
    tombstones = _read_tombstones(folders, manifest.version, files)
    for described, rows in zip(files.segments, tombstones, strict=True):
        key = SegmentKey(described.name, is_exact(total))
        segment = known.get(key) or load_segment(folders, manifest.dim, described, total)
        segments[key] = segment.of_version(rows)
    return segments


def _read_tombstones(folders: Folders, version: str, files: ShardFiles) -> list[Numbers]:
    """The tombstones of each segment; raises BadIndex."""
    ends = np.cumsum([segment.count for segment in files.segments])
    if files.tombstones is None:
        return [np.empty(0, np.int64) for _ in files.segments]
    path = verify(folders.index / version, files.tombstones)
    try:
        rows = np.fromfile(path, "<u4").astype(np.int64)
    except OSError as error:
        raise BadIndex(f"{path}: {error}") from None
    if rows.max(initial=0) >= ends[-1]:
        raise BadIndex(f"{path}: of another shard")
    parts = np.split(rows, np.searchsorted(rows, ends[:-1]))
    return [part - start for part, start in zip(parts, [0, *ends[:-1]], strict=True)]
