"""The compact index: HNSW over 8-bit vectors in memory (faiss), re-ranked by float16 on the disk.

In memory, each number of a vector is one byte: its place between the least and the greatest value
of its dimension (faiss's QT_8bit). This is enough to search the graph. The candidates of the
search are then scored by their float16 vectors. Scores are exact to 1e-3; the order nearly always.
"""

import mmap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.cores import usable_cores
from common.errors import MissingPackage
from common.files import write_whole
from common.wire import Matrix
from search.ann_index import AnnPaths, Build, Mask, Numbers
from search.exact import nearest_of
from search.manifest import BadIndex

try:
    import faiss
except ImportError:
    raise MissingPackage("Prepare.index compact needs: pip install faiss-cpu") from None

OVERSAMPLE = 2
"""Factor on ef. 8-bit vectors mislead the search; with twice the ef it finds what hnswlib does."""
FLOAT16 = np.dtype("<f2")


def write(folder: Path, name: str, vectors: Matrix, build: Build) -> AnnPaths:
    """Build and write an index: see `ann_index.AnnModule`."""
    index, exact = folder / f"{name}.compact", folder / f"{name}.float16"
    write_whole(index, lambda temporary: _build(vectors, build, temporary))
    rounded = vectors.astype(FLOAT16)
    # not by numpy's tofile, which reports no error when the disk is full
    write_whole(exact, lambda temporary: _write(temporary, rounded))
    return AnnPaths(index, exact)


def _write(path: Path, rows: NDArray[np.float16]) -> None:
    path.write_bytes(np.ascontiguousarray(rows).data)


def _build(vectors: Matrix, build: Build, path: Path) -> None:
    count, dim = vectors.shape
    faiss.omp_set_num_threads(build.threads)  # for the calls of this thread
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
    """Load an index: see `ann_index.AnnModule`."""
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
    """The vectors in a file, mapped into memory, float16 [count, dim]; raises BadIndex."""
    size_bytes = path.stat().st_size
    if size_bytes != count * dim * FLOAT16.itemsize:
        raise BadIndex(f"{path}: {size_bytes} bytes, not those of {count} vectors of {dim}")
    if not count:  # an empty file cannot be mapped
        return np.empty((0, dim), FLOAT16)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):  # else each read loads about a hundred neighbours too
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, FLOAT16).reshape(count, dim)


class Compact:
    """A loaded compact index, an `ann_index.AnnIndex`."""

    def __init__(self, index: "faiss.IndexHNSWSQ", exact: NDArray[np.float16]) -> None:
        self._index = index
        self._exact = exact

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None = None
    ) -> tuple[Numbers, Matrix]:
        """The k best candidates of the graph search; exactly, if that finds fewer than k."""
        wide = min(max(OVERSAMPLE * ef, k), len(self._exact))
        parts = np.array_split(vectors, min(threads or usable_cores(), len(vectors)))
        if len(parts) == 1:
            return self._nearest(vectors, k, wide, mask)
        # Not by faiss's own threads: OpenMP threads spin while they wait. On busy cores, they
        # take CPU time from the threads that still search.
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(lambda part: self._nearest(part, k, wide, mask), parts))
        labels = np.concatenate([labels for labels, _ in found])
        return labels, np.concatenate([scores for _, scores in found])

    def _nearest(
        self, vectors: Matrix, k: int, wide: int, mask: Mask | None
    ) -> tuple[Numbers, Matrix]:
        faiss.omp_set_num_threads(1)  # for the calls of this thread
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersHNSW(efSearch=wide, sel=selector)
        _, found = self._index.search(vectors, wide, params=parameters)
        labels = np.empty((len(vectors), k), dtype=np.int64)
        scores = np.empty((len(vectors), k), dtype=np.float32)
        for i, vector in enumerate(vectors):
            rows = found[i][found[i] >= 0]
            if len(rows) < k:
                rows = np.arange(len(self._exact)) if mask is None else np.flatnonzero(mask)
            labels[i : i + 1], scores[i : i + 1] = nearest_of(self, rows, vector[None], k)
        return labels, scores

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim], rounded to float16."""
        return self._exact[rows].astype(np.float32)
