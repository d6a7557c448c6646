"""An index of distinct vectors: of equal vectors the graph has one, a node, which stands for all.

HNSW links equal vectors to each other until their links are full: a group of copies becomes an
island that searches do not leave (docs/decisions/004-ids-shards-and-copies.md has figures).
"""

import hashlib
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.ann_index import AnnIndex, HidingIndex, Mask, Numbers
from search.manifest import BadIndex

NODE = np.dtype("<u4")
"""The node of a vector, in a file."""
DIGEST_BYTES = 16
"""Of a vector's digest: two different vectors with one digest are not to be met."""

Nodes = NDArray[np.integer]
Nearest = tuple[NDArray[np.integer], Matrix]
"""Rows or nodes, and cosines, of each query, best first, both [queries, k]."""


class Groups:
    """Which rows have which node."""

    def __init__(self, nodes: NDArray[np.uint32]) -> None:
        """`nodes` are the node of each row; nodes have the order of their first rows."""
        self.nodes = nodes
        self.sizes = np.bincount(nodes)
        """The rows of each node."""
        self._rows = np.argsort(nodes, kind="stable").astype(np.uint32)
        self._starts = np.cumsum(self.sizes) - self.sizes

    @property
    def firsts(self) -> Numbers:
        """The first row of each node."""
        firsts: Numbers = self._rows[self._starts].astype(np.int64)
        return firsts

    def masked(self, mask: Mask) -> Mask:
        """The nodes that have a row in a mask, as a mask."""
        nodes = np.zeros(len(self.sizes), np.bool_)
        nodes[self.nodes[mask]] = True
        return nodes

    def rows(self, found: Nearest, k: int, mask: Mask | None = None) -> Nearest:
        """The first k rows of the nodes that each query has found, those of a node in order.

        With a mask, of its rows alone. Fewer for all queries if one has fewer.
        """
        nodes, scores = found
        hit, places = np.unique(nodes, return_inverse=True)
        rows, sizes = self._rows_of(hit, mask)
        places = places.reshape(nodes.shape)
        counts = sizes[places]
        before = np.cumsum(counts, axis=1) - counts
        width = min(k, int(counts.sum(axis=1).min()))
        taken = np.clip(width - before, 0, counts).ravel()
        starts = (np.cumsum(sizes) - sizes)[places.ravel()]
        labels = rows[_spans(starts, taken)].reshape(len(nodes), width)
        return labels, np.repeat(scores.ravel(), taken).reshape(len(nodes), width)

    def _rows_of(self, nodes: Nodes, mask: Mask | None) -> tuple[NDArray[np.uint32], Numbers]:
        """The rows of some nodes, one node after the other, and how many each has."""
        sizes = self.sizes[nodes]
        rows = self._rows[_spans(self._starts[nodes], sizes)]
        if mask is None:
            return rows, sizes
        kept = mask[rows]
        owners = np.repeat(np.arange(len(nodes)), sizes)
        return rows[kept], np.bincount(owners[kept], minlength=len(nodes))


def groups_of(vectors: Matrix) -> Groups | None:
    """The groups of equal vectors; None if all vectors differ."""
    known: dict[bytes, int] = {}
    rows = np.ascontiguousarray(vectors)
    digests = (hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in rows)
    nodes = np.fromiter((known.setdefault(digest, len(known)) for digest in digests), NODE)
    return Groups(nodes) if len(known) < len(rows) else None


def _spans(starts: Numbers, sizes: Numbers) -> Numbers:
    """The numbers from each start on, as many as its size, as one array."""
    shifts = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    spans: Numbers = np.arange(len(shifts)) + shifts
    return spans


class Distinct:
    """An index of nodes, searched for rows: an `ann_index.AnnIndex`."""

    def __init__(self, index: AnnIndex, groups: Groups) -> None:
        self._index = index
        self._groups = groups

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None = None
    ) -> Nearest:
        """See `ann_index.AnnIndex`; rows of equal vectors are in order."""
        nodes = None if mask is None else self._groups.masked(mask)
        count = len(self._groups.sizes) if nodes is None else int(np.count_nonzero(nodes))
        found = self._index.nearest(vectors, min(k, count), ef, threads, nodes)
        return self._groups.rows(found, k, mask)

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""
        return self._index.vectors(self._groups.nodes[rows].astype(np.int64))


class HidingDistinct:
    """Such an index over one that hides: an `ann_index.HidingIndex`."""

    def __init__(self, index: HidingIndex, groups: Groups) -> None:
        self._index = index
        self._groups = groups
        self._masked = Distinct(index, groups)
        self._hiding = threading.Lock()
        self._alive = np.ones(len(groups.nodes), np.bool_)  # replaced, never changed
        self._left = groups.sizes.copy()  # rows of each node that are not hidden

    def hide(self, rows: Numbers) -> None:
        """See `ann_index.HidingIndex`. A node is hidden with the last of its rows."""
        with self._hiding:
            hidden = np.unique(rows[self._alive[rows]])
            alive = self._alive.copy()
            alive[hidden] = False
            nodes, counts = np.unique(self._groups.nodes[hidden], return_counts=True)
            self._left[nodes] -= counts
            self._index.hide(nodes[self._left[nodes] == 0])
            self._alive = alive

    def hide_only(self, rows: Numbers) -> None:
        """See `ann_index.HidingIndex`."""
        with self._hiding:
            alive = np.ones(len(self._alive), np.bool_)
            alive[rows] = False
            left = np.bincount(self._groups.nodes[alive], minlength=len(self._left))
            self._index.hide_only(np.flatnonzero(left == 0))
            self._left, self._alive = left, alive

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None = None
    ) -> Nearest:
        """See `ann_index.HidingIndex`; rows of equal vectors are in order."""
        if mask is not None:
            return self._masked.nearest(vectors, k, ef, threads, mask)
        # Of before the search: of each node that it finds a row is alive, or was just now.
        alive, nodes = self._alive, int(np.count_nonzero(self._left))
        found = self._index.nearest(vectors, min(k, nodes), ef, threads)
        return self._groups.rows(found, k, alive)

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""
        return self._masked.vectors(rows)


def of_rows(index: AnnIndex, groups: Groups | None) -> AnnIndex:
    """The index of rows over an index of nodes, which hides rows if that does; itself for None."""
    if groups is None:
        return index
    if isinstance(index, HidingIndex):
        return HidingDistinct(index, groups)
    return Distinct(index, groups)


def read_groups(path: Path, rows: int) -> Groups:
    """Read the nodes of a segment with so many vectors; raises OSError, BadIndex."""
    nodes = np.fromfile(path, NODE)
    most = np.maximum.accumulate(nodes, dtype=np.int64)
    if len(nodes) != rows or (np.diff(most, prepend=-1) > 1).any():  # a node was never begun
        raise BadIndex(f"{path}: of another shard")
    return Groups(nodes)
