"""Segments of vectors without images, written and loaded without a server."""

from pathlib import Path

import numpy as np

from common.config import IndexKind
from common.wire import Matrix
from devtools.vectors import clustered, unit
from search.ann_index import Build
from search.fields import fields_of_index
from search.image_key import IMAGE_KEY
from search.index import load_segment
from search.manifest import Folders
from search.messages import Record
from search.segment import Segment
from search.segment_files import SegmentFiles
from search.segment_writing import SegmentRows, write_segment

VERSION = "v000001"


def make_clusters(count: int, dim: int) -> Matrix:
    """Clustered unit vectors, always the same."""
    topics = np.random.default_rng(1).standard_normal((count // 50, dim)).astype(np.float32)
    return clustered(unit(topics), count)


def folders_in(root: Path) -> Folders:
    """The three folders of a version."""
    folders = Folders(root / "index", root / "paths", root / "hashes")
    for folder in folders.all():
        (folder / VERSION).mkdir(parents=True, exist_ok=True)
    return folders


def write_vectors(
    folders: Folders, vectors: Matrix, kind: IndexKind, shard: int = 0, links: int = 16
) -> SegmentFiles:
    """Write a segment whose image i has the vector i and a key of that number."""
    keys = np.zeros(len(vectors), dtype=IMAGE_KEY)
    keys["content"] = np.arange(len(vectors))
    records = [Record(f"{number}.jpg") for number in range(len(vectors))]
    build = Build(kind, links, 200, 1, 64)
    rows, fields = SegmentRows(vectors, keys, records), fields_of_index(records)
    return write_segment(folders, VERSION, shard, rows, build, fields)


def load_vectors(
    root: Path, vectors: Matrix, kind: IndexKind, links: int = 16, total: int = 1_000_000
) -> Segment:
    """Such a segment, written and loaded as one of a version with `total` images."""
    folders = folders_in(root)
    files = write_vectors(folders, vectors, kind, links=links)
    return load_segment(folders, vectors.shape[1], files, total)


def search(shard: Segment, queries: Matrix, k: int, ef: int) -> tuple[list[list[int]], Matrix]:
    """The rows and scores of the k nearest of each query."""
    found = shard.rank(queries, [k] * len(queries), ef, 2).hits()
    rows = [np.frombuffer(hits.keys, IMAGE_KEY)["content"].tolist() for hits in found]
    return rows, np.stack([np.frombuffer(hits.scores, "<f4") for hits in found])
