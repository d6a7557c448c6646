"""The compact engine: HNSW over vectors of bytes (faiss), ranked again by float16 on the disk.

Each number of a vector is a byte in memory, between the least and the greatest of its dimension
(faiss's QT_8bit). That is good enough to walk the links; all that the walk has looked at longest
is then scored by its float16 vector, so scores are exact to 1e-3, and the order nearly always.
"""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import MissingPackage
from common.files import write_whole
from common.wire import Matrix
from search.ann_index import AnnPaths, Build, Numbers
from search.manifest import BadIndex

try:
    import faiss
except ImportError:
    raise MissingPackage("Prepare.index compact: pip install faiss-cpu") from None

OVERSAMPLE = 2
"""Rounded vectors lead a walk astray: with twice the ef it finds at least as much as hnswlib."""
FLOAT16 = np.dtype("<f2")
BLOCK = 2**15
"""Rows that are made float32 at a time: 64 MiB of 512 dimensions."""


def write(folder: Path, name: str, vectors: Matrix, build: Build) -> AnnPaths:
    """Build and write an index: `engine.AnnModule`."""
    index, exact = folder / f"{name}.compact", folder / f"{name}.float16"
    write_whole(index, lambda temporary: _build(vectors, build, temporary))
    rounded = vectors.astype(FLOAT16)
    # not by numpy's tofile, which says nothing when the disk is full
    write_whole(exact, lambda temporary: _write(temporary, rounded))
    return AnnPaths(index, exact)


def _write(path: Path, rows: NDArray[np.float16]) -> None:
    path.write_bytes(np.ascontiguousarray(rows).data)


def _build(vectors: Matrix, build: Build, path: Path) -> None:
    count, dim = vectors.shape
    faiss.omp_set_num_threads(build.threads)  # of what this thread calls
    index = faiss.IndexHNSWSQ(
        dim, faiss.ScalarQuantizer.QT_8bit, build.M, faiss.METRIC_INNER_PRODUCT
    )
    index.hnsw.efConstruction = build.ef_construction
    if count:
        index.train(vectors)
        index.add(vectors)
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise BadIndex(f"{path}: {error}") from None


def load(paths: AnnPaths, dim: int, count: int) -> "Compact":
    """Load an index: `engine.AnnModule`."""
    if paths.vectors_path is None:
        raise BadIndex(f"{paths.index_path}: no vectors beside it")
    try:
        index = faiss.read_index(str(paths.index_path))
    except (RuntimeError, MemoryError) as error:
        raise BadIndex(f"{paths.index_path}: {error}") from None
    if not isinstance(index, faiss.IndexHNSWSQ) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise BadIndex(f"{paths.index_path}: not an index of this kind")
    if (index.d, index.ntotal) != (dim, count):
        raise BadIndex(
            f"{paths.index_path}: {index.ntotal} vectors of {index.d}, not {count} of {dim}"
        )
    return Compact(index, _map(paths.vectors_path, dim, count))


def _map(path: Path, dim: int, count: int) -> NDArray[np.float16]:
    """The vectors in a file, [count, dim], read as they are needed; raises BadIndex."""
    size_bytes = path.stat().st_size
    if size_bytes != count * dim * FLOAT16.itemsize:
        raise BadIndex(f"{path}: {size_bytes} bytes, not those of {count} vectors of {dim}")
    if not count:  # nothing can be mapped
        return np.empty((0, dim), FLOAT16)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):  # else a vector brings a hundred neighbours from the disk
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, FLOAT16).reshape(count, dim)


class Compact:
    """An `ann_index.AnnIndex`."""

    def __init__(self, index: "faiss.IndexHNSWSQ", exact: NDArray[np.float16]) -> None:
        self._index = index
        self._exact = exact

    def nearest(self, vectors: Matrix, k: int, ef: int, threads: int) -> tuple[Numbers, Matrix]:
        """The k best of what a walk with `ef` finds, or of all where too few are linked."""
        wide = min(max(OVERSAMPLE * ef, k), len(self._exact))
        parts = np.array_split(vectors, min(threads or os.cpu_count() or 1, len(vectors)))
        if len(parts) == 1:
            return self._nearest(vectors, k, wide)
        # Not by faiss's own threads, OpenMP's: they spin while they wait, which on busy cores
        # takes the time of those that they wait for.
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(lambda part: self._nearest(part, k, wide), parts))
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def _nearest(self, vectors: Matrix, k: int, wide: int) -> tuple[Numbers, Matrix]:
        faiss.omp_set_num_threads(1)  # of what this thread calls
        parameters = faiss.SearchParametersHNSW(efSearch=wide)
        _, found = self._index.search(vectors, wide, params=parameters)
        labels = np.empty((len(vectors), k), dtype=np.int64)
        scores = np.empty((len(vectors), k), dtype=np.float32)
        for i, vector in enumerate(vectors):
            rows = found[i][found[i] >= 0]
            if len(rows) < k:
                rows = np.arange(len(self._exact))
            all_scores = self._scores(rows, vector)
            best = np.argsort(-all_scores, kind="stable")[:k]
            labels[i], scores[i] = rows[best], all_scores[best]
        return labels, scores

    def _scores(self, rows: Numbers, vector: Matrix) -> Matrix:
        starts = range(0, len(rows), BLOCK)
        return np.concatenate([self.vectors(rows[i : i + BLOCK]) @ vector for i in starts])

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, rounded to float16."""
        return self._exact[rows].astype(np.float32)
