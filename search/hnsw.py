"""The default index: hnswlib, with every vector in memory as float32."""

import threading
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from common.files import write_whole
from common.wire import Matrix
from search.ann_index import AnnPaths, Build, Numbers
from search.manifest import DISTANCE, BadIndex

BLOCK = 256
"""Vectors that are read at a time. hnswlib makes a Python object of each number, under Python's
lock. 20,000 vectors of 512 numbers at once silenced a server for 1.6 s on busy cores and took 390
MiB more; in blocks, 25 ms and nothing."""


def write(folder: Path, name: str, vectors: Matrix, build: Build) -> AnnPaths:
    """Build and write an index: see `ann_index.AnnModule`."""
    path = folder / f"{name}.hnsw"
    write_whole(path, lambda temporary: _build(vectors, build).save_index(str(temporary)))
    return AnnPaths(path)


def _build(vectors: Matrix, build: Build) -> hnswlib.Index:
    count, dim = vectors.shape
    index = hnswlib.Index(space=DISTANCE, dim=dim)
    index.init_index(max(1, count), M=build.M, ef_construction=build.ef_construction, random_seed=1)
    if count:  # hnswlib fails on an empty array
        index.add_items(vectors, np.arange(count), num_threads=build.threads)
    return index


def load(paths: AnnPaths, dim: int, count: int) -> "Hnsw":
    """Load an index into a new object; raises BadIndex. hnswlib itself checks almost nothing."""
    path = paths.index_path
    if (found := _dim_of(path)) != dim:
        raise BadIndex(f"{path}: vectors of {found} numbers, not {dim}")
    index = hnswlib.Index(space=DISTANCE, dim=dim)
    try:
        index.load_index(str(path))
    except RuntimeError as error:
        raise BadIndex(f"{path}: {error}") from None
    if index.get_current_count() != count:
        raise BadIndex(f"{path}: {index.get_current_count()} vectors, not {count}")
    return Hnsw(index)


def _dim_of(path: Path) -> int:
    """The dimension in an index file. An element is its links, its float32 vector, its label."""
    header = np.fromfile(path, dtype="<u8", count=6)
    if len(header) < 6:
        raise BadIndex(f"{path}: too short for an index")
    label_offset, vector_offset = header[4:].tolist()
    return int(label_offset - vector_offset) // 4


class Hnsw:
    """A loaded hnswlib index, an `ann_index.AnnIndex`."""

    def __init__(self, index: hnswlib.Index) -> None:
        self._index = index
        self._lock = threading.Lock()  # ef is set on the index: one batch at a time

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int
    ) -> tuple[NDArray[np.uint64], Matrix]:
        """The k nearest by graph search; by brute force if that finds fewer than k."""
        with self._lock:
            self._index.set_ef(ef)
            try:
                labels, distances = self._index.knn_query(vectors, k, num_threads=threads)
            except RuntimeError:  # the search found fewer than k
                return self._nearest_of_all(vectors, k)
        return labels, 1 - distances

    def _nearest_of_all(self, vectors: Matrix, k: int) -> tuple[NDArray[np.uint64], Matrix]:
        rows = self.vectors(np.arange(self._index.get_current_count()))
        labels = np.empty((len(vectors), k), dtype=np.uint64)
        scores = np.empty((len(vectors), k), dtype=np.float32)
        for i, vector in enumerate(vectors):
            all_scores = rows @ vector
            labels[i] = np.argsort(-all_scores, kind="stable")[:k]
            scores[i] = all_scores[labels[i]]
        return labels, scores

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""
        found = np.empty((len(rows), self._index.dim), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            found[block] = self._index.get_items(rows[block], return_type="numpy")
        return found
