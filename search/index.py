"""The index of a segment as files: their kind, and how they are loaded."""

import math
import mmap
from pathlib import Path

import numpy as np

from common.config import IndexKind
from search import canaries, exact, hnsw
from search.ann_index import AnnIndex, AnnModule, AnnPaths
from search.columns import Columns
from search.distinct import Groups, of_rows, read_groups
from search.image_key import IMAGE_KEY
from search.manifest import SEGMENTS, BadIndex, Folders, files_of_segment, verify_files
from search.regions import read_regions
from search.segment import Segment
from search.segment_files import SegmentFiles


def ann_module(kind: IndexKind) -> AnnModule:
    """The module that writes and loads a kind of index; raises MissingPackage."""
    if kind == "compact":
        from search import compact  # imported here, as faiss is optional

        return compact
    return hnsw


def load_ann(
    kind: IndexKind, paths: AnnPaths, dim: int, count: int, groups: Groups | None
) -> AnnIndex:
    """Load the index of `count` vectors, of which `groups` are equal; raises BadIndex."""
    nodes = count if groups is None else len(groups.sizes)
    return of_rows(ann_module(kind).load(paths, dim, nodes), groups)


def ef_of_shard(ef_search: int, shard_count: int) -> int:
    """The ef of each shard with which all shards together reach the recall of one index.

    Measured as recall@10 of 100,000 vectors with 512 dimensions: .95 for texts and .83 for images
    in one shard with ef 64; .96 and .86 in 21 shards with ef 16. In 21 shards with ef 64 it is
    .998, at three times the cost.
    """
    return math.ceil(ef_search / math.pow(shard_count, 0.45))


def is_exact(total: int) -> bool:
    """Whether an index of so many vectors is searched exactly."""
    return total <= exact.MAX_COUNT


def load_segment(folders: Folders, dim: int, files: SegmentFiles, total: int) -> Segment:
    """Load a segment: check its files against the manifest, then run its canaries.

    `total` is the number of vectors in the version: a small version is searched exactly. Raises
    BadIndex, MissingPackage.
    """
    try:
        return _load(folders, dim, files, total)
    except MemoryError:
        raise BadIndex(f"segment {files.name}: too little memory") from None
    except OSError as error:  # prepare deletes old segments, also while one is loaded
        raise BadIndex(f"segment {files.name}: {error}") from None


def _load(folders: Folders, dim: int, files: SegmentFiles, total: int) -> Segment:
    verify_files(files_of_segment(folders, files))
    index, paths, hashes = (folder / SEGMENTS for folder in folders.all())
    vectors_path = index / files.vectors.name if files.vectors else None
    ann_paths = AnnPaths(index / files.index.name, vectors_path)
    keys = np.fromfile(hashes / files.hashes.name, dtype=IMAGE_KEY)
    offsets = np.fromfile(paths / files.offsets.name, dtype="<i8")
    records = _map(paths / files.records.name)
    columns = _map(paths / files.columns.name)
    if len(keys) != files.count or len(offsets) != files.count + 1 or offsets[-1] != len(records):
        raise BadIndex(f"{ann_paths.index_path}: the files of a segment do not belong together")
    regions, vectors = None, files.count
    if files.regions:
        regions = read_regions(paths / files.regions.name, files.count)
        vectors = regions.total
    groups = read_groups(index / files.distinct.name, vectors) if files.distinct else None
    ann = load_ann(files.kind, ann_paths, dim, vectors, groups)
    drawn = canaries.read(index / files.canaries.name, dim, vectors)
    canaries.check(drawn, ann, str(ann_paths.index_path))
    if files.count and is_exact(total):
        held = np.arange(vectors) if groups is None else groups.firsts
        ann = of_rows(exact.Exact(ann.vectors(held)), groups)
    return Segment(ann, keys, records, offsets, Columns(columns, files.count), regions)


def _map(path: Path) -> mmap.mmap | bytes:
    """The bytes of a file, mapped into memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
