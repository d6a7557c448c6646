"""What finds the nearest vectors of a shard: what every kind of index has in common."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from common.config import IndexKind
from common.wire import Matrix

Numbers = NDArray[np.int64]
"""Of rows of a shard, which are in the order of its keys."""


class Build(NamedTuple):
    """The kind of an index, and how its HNSW links are made (Malkov and Yashunin, 2016)."""

    kind: IndexKind
    M: int
    ef_construction: int
    threads: int
    ef: int
    """With which its canaries are asked."""


class AnnPaths(NamedTuple):
    """The files of an engine."""

    index_path: Path
    vectors_path: Path | None = None


class AnnIndex(Protocol):
    """The vectors of a shard, loaded; asked from any thread."""

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int
    ) -> tuple[NDArray[np.integer], Matrix]:
        """Rows and cosines of the k nearest of each unit vector, best first, [n, k].

        0 < k <= rows; `threads` 0 is one a core.
        """

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, [n, dim]."""


class AnnModule(Protocol):
    """A module with an engine: how it is written and loaded."""

    def write(self, folder: Path, name: str, vectors: Matrix, build: Build) -> AnnPaths:
        """Build an index and write it whole, its files named after `name`; raises BadIndex."""

    def load(self, paths: AnnPaths, dim: int, count: int) -> AnnIndex:
        """Load what was written; raises BadIndex for files that are not of such an index."""
