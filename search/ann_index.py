"""The index of a shard's vectors: the interface that every kind of index has."""

from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from common.config import IndexKind
from common.wire import Matrix

Numbers = NDArray[np.int64]
"""Row numbers of a shard; the rows are sorted by image key."""

Mask = NDArray[np.bool_]
"""Some of the rows of a shard, bool [rows]."""


class Build(NamedTuple):
    """The kind of an index and its HNSW settings (Malkov and Yashunin, 2016)."""

    kind: IndexKind
    M: int
    ef_construction: int
    threads: int
    ef: int
    """The ef of its canary queries."""


class AnnPaths(NamedTuple):
    """The files of an index; `vectors_path` is None where `index_path` holds the vectors."""

    index_path: Path
    vectors_path: Path | None = None


class AnnIndex(Protocol):
    """A loaded index; its methods may be called from any thread."""

    def nearest(
        self, vectors: Matrix, k: int, ef: int, threads: int, mask: Mask | None = None
    ) -> tuple[NDArray[np.integer], Matrix]:
        """Rows and cosines of the k nearest of each unit vector, best first, both [n, k].

        With a mask, of its rows alone: 0 < k <= rows. With `threads` 0, each core runs a thread.
        Fewer than k are found if rows are hidden meanwhile.
        """

    def vectors(self, rows: Numbers) -> Matrix:
        """The vectors of some rows, float32 [n, dim]."""


@runtime_checkable
class HidingIndex(AnnIndex, Protocol):
    """An index that hides rows faster than by a mask for each search."""

    def hide(self, rows: Numbers) -> None:
        """Leave out some rows, also if they are hidden already."""

    def hide_only(self, rows: Numbers) -> None:
        """Leave out some rows, and find all others again."""


class AnnModule(Protocol):
    """A module that writes and loads one kind of index."""

    def write(self, folder: Path, name: str, vectors: Matrix, build: Build) -> AnnPaths:
        """Build an index in `folder`, with file names that start with `name`; raises BadIndex."""

    def load(self, paths: AnnPaths, dim: int, count: int) -> AnnIndex:
        """Load an index; raises BadIndex for files of another kind or size."""
