"""The default index: hnswlib, with every vector in memory as float32."""

import mmap
import threading
from pathlib import Path
from typing import NamedTuple

import hnswlib
import numpy as np
from numpy.typing import NDArray

from common.files import write_whole
from common.wire import Matrix
from search.ann_index import AnnPaths, Build, Mask, Numbers
from search.exact import nearest_of
from search.manifest import DISTANCE, BadIndex

HEADER = 96
"""Bytes of an index file before its elements: see `_vectors`."""


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
    vectors = _vectors(path, dim, count)
    index = hnswlib.Index(space=DISTANCE, dim=dim)
    try:
        index.load_index(str(path))
    except RuntimeError as error:
        raise BadIndex(f"{path}: {error}") from None
    if index.get_current_count() != count:
        raise BadIndex(f"{path}: {index.get_current_count()} vectors, not {count}")
    return Hnsw(index, vectors)


def _vectors(path: Path, dim: int, count: int) -> "Vectors":
    """The vectors in an index file, mapped; raises BadIndex.

    Not by hnswlib's get_items, which makes a Python object of each number under Python's lock:
    20,000 vectors of 512 numbers silenced a server for 1.6 s. The layout is hnswlib's saveIndex:
    numbers of 8 bytes, then elements, each its links, its float32 vector and its label.
    """
    with path.open("rb") as file:
        if path.stat().st_size < HEADER:
            raise BadIndex(f"{path}: too short for an index")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _, _, rows, size, label_at, vector_at = np.frombuffer(mapped, "<u8", 6).tolist()
    if (found := (label_at - vector_at) // 4) != dim:
        raise BadIndex(f"{path}: vectors of {found} numbers, not {dim}")
    if rows != count or HEADER + rows * size > len(mapped):
        raise BadIndex(f"{path}: {rows} vectors of {size} bytes, not {count}")
    if not rows:
        return Vectors(np.empty((0, dim), np.float32), np.empty(0, np.uint32))
    labels = np.ndarray((rows,), "<u8", mapped, HEADER + label_at, (size,))
    vectors = np.ndarray((rows, dim), "<f4", mapped, HEADER + vector_at, (size, 4))
    places = np.argsort(labels).astype(np.uint32)
    if hasattr(mmap, "MADV_DONTNEED"):  # the labels lie on all pages; few are read again
        mapped.madvise(mmap.MADV_DONTNEED)
    return Vectors(vectors, places)


class Vectors(NamedTuple):
    """The vectors of a mapped file, float32 [rows, dim], and the place of each row's among them."""

    mapped: Matrix
    places: NDArray[np.uint32]


class Hnsw:
    """A loaded hnswlib index, an `ann_index.AnnIndex`."""

    def __init__(self, index: hnswlib.Index, vectors: Vectors) -> None:
        self._index = index
        self._vectors = vectors
        self._alive = np.ones(index.get_current_count(), np.bool_)
        self._lock = threading.Lock()  # ef is set on the index: one batch at a time

    def hide(self, rows: Numbers) -> None:
        """See `ann_index.HidingIndex`."""
        with self._lock:
            self._hide(rows)

    def hide_only(self, rows: Numbers) -> None:
        """See `ann_index.HidingIndex`."""
        with self._lock:
            shown = np.setdiff1d(np.flatnonzero(~self._alive), rows)
            self._hide(rows)
            self._alive[shown] = True
            for row in shown.tolist():
                self._index.unmark_deleted(row)

    def _hide(self, rows: Numbers) -> None:
        hidden = rows[self._alive[rows]]  # hnswlib raises an error for a row that is hidden
        self._alive[hidden] = False
        for row in hidden.tolist():
            self._index.mark_deleted(row)

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None = None
    ) -> tuple[NDArray[np.integer], Matrix]:
        """The k nearest by graph search; exactly, if that finds fewer than k."""
        passes, threads = (None, threads) if mask is None else (mask.tobytes().__getitem__, 1)
        with self._lock:
            self._index.set_ef(ef)
            try:
                labels, distances = self._index.knn_query(vectors, k, threads, passes)
            except RuntimeError:  # the search found fewer than k
                rows = np.flatnonzero(self._alive if mask is None else mask)
                return nearest_of(self, rows, vectors, k)
        return labels, 1 - distances

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""
        return self._vectors.mapped[self._vectors.places[rows]]
