"""Exact search of a small collection."""

from pathlib import Path

import numpy as np
import pytest

from devtools.vectors import unit
from search import exact
from search.ann_index import Build
from search.exact import BLOCK, Exact, nearest_of
from search.image_key import IMAGE_KEY
from search.index import load_segment
from search.manifest import Folders
from search.messages import Record
from search.segment_writing import SegmentRows, write_segment

DIM = 16
VERSION = "v000001"
ROWS = unit(np.random.default_rng(0).standard_normal((400, DIM), dtype=np.float32))


@pytest.mark.parametrize("k", [1, 10, len(ROWS)])
@pytest.mark.parametrize("count", [1, BLOCK + 1])
def test_the_nearest_are_those_of_a_full_sort(k: int, count: int) -> None:
    """Best first, with their cosines."""
    queries = unit(np.random.default_rng(1).standard_normal((count, DIM), dtype=np.float32))
    labels, scores = Exact(ROWS).nearest(queries, k, ef=1, threads=0)

    cosines = queries @ ROWS.T
    np.testing.assert_array_equal(labels, np.argsort(-cosines, axis=1, kind="stable")[:, :k])
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :k], rtol=1e-5)


def test_of_equal_scores_the_first_rows_come_first() -> None:
    """Copies are found in their order, and none is missed."""
    copies = np.repeat(ROWS[:1], 50, axis=0)
    labels, scores = Exact(copies).nearest(ROWS[:1], 50, ef=1, threads=0)

    assert labels[0].tolist() == list(range(50))
    np.testing.assert_allclose(scores, 1, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 10, 200])
def test_of_some_rows_the_nearest_are_those_of_a_full_sort(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all are compared at once or a block at a time, also where a block has fewer."""
    queries = unit(np.random.default_rng(1).standard_normal((5, DIM), dtype=np.float32))
    rows = np.arange(0, len(ROWS), 2)
    cosines = queries @ ROWS[rows].T
    for size in (exact.ROWS, 64):
        monkeypatch.setattr(exact, "ROWS", size)
        monkeypatch.setattr(exact, "GATHERED", 24)
        labels, scores = nearest_of(Exact(ROWS), rows, queries, k)

        best = rows[np.argsort(-cosines, axis=1)[:, :k]]
        np.testing.assert_array_equal(labels, best)
        np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :k], atol=1e-6)


@pytest.mark.parametrize(("images", "is_exact"), [(exact.MAX_COUNT, True), (1_000_000, False)])
def test_a_shard_of_a_small_version_is_searched_exactly(
    tmp_path: Path, images: int, is_exact: bool
) -> None:
    """Whatever the graph misses: here nearly all images are copies."""
    rows = np.concatenate([np.repeat(ROWS[:1], 2000, axis=0), ROWS[1:]])
    keys = np.zeros(len(rows), IMAGE_KEY)
    keys["content"] = np.arange(len(rows))
    records = [Record("x")] * len(rows)
    folders = Folders(*(tmp_path / name for name in ("index", "paths", "hashes")))
    for folder in folders.all():
        (folder / VERSION).mkdir(parents=True)
    build = Build("hnsw", 4, 10, 1, 10)
    files = write_segment(folders, VERSION, 0, SegmentRows(rows, keys, records), build)
    shard = load_segment(folders, DIM, files, images)

    found = shard.rank(ROWS[1:], [1] * (len(ROWS) - 1), 1, 1).hits()
    scores = np.concatenate([np.frombuffer(hits.scores, "<f4") for hits in found])
    assert bool((scores > 1 - 1e-5).all()) == is_exact
