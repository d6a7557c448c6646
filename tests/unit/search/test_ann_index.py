"""Both kinds of index: the same answers to the same questions, and nothing else is loaded."""

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest

from common.wire import Matrix
from search import compact, hnsw
from search.ann_index import Build
from search.manifest import BadIndex

VECTORS: Matrix = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
ENGINES = pytest.mark.parametrize("engine", [hnsw, compact], ids=["hnsw", "compact"])


def build(kind: Any) -> Build:
    return Build(kind, 16, 100, 1, 64)


@ENGINES
def test_the_nearest_are_found_best_first(engine: Any, tmp_path: Path) -> None:
    """With their cosines; all of them where all are asked for."""
    paths = engine.write(tmp_path, "shard", VECTORS, build("hnsw"))
    loaded = engine.load(paths, 16, 60)
    rows, scores = loaded.nearest(VECTORS[:5], 60, 64, 1)
    exact = VECTORS[:5] @ VECTORS.T

    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    found = np.take_along_axis(exact, rows.astype(np.int64), axis=1)
    np.testing.assert_allclose(scores, found, atol=2e-3)
    np.testing.assert_allclose(loaded.vectors(np.array([3])), VECTORS[3:4], atol=2e-3)


@ENGINES
def test_vectors_are_read_in_the_order_of_the_rows(engine: Any, tmp_path: Path) -> None:
    """Also a row twice, and none."""
    loaded = engine.load(engine.write(tmp_path, "shard", VECTORS, build("hnsw")), 16, 60)
    rows = np.random.default_rng(0).integers(0, 60, 519)

    np.testing.assert_allclose(loaded.vectors(rows), VECTORS[rows], atol=2e-3)
    assert loaded.vectors(rows[:0]).shape == (0, 16)


def test_mapped_vectors_are_those_of_hnswlib(tmp_path: Path) -> None:
    """Bit for bit: the file is read by its layout, which a new hnswlib might change."""
    paths = hnsw.write(tmp_path, "shard", VECTORS, build("hnsw"))
    index = hnswlib.Index(space="ip", dim=16)
    index.load_index(str(paths.index_path))
    rows = np.arange(60)

    found = hnsw.load(paths, 16, 60).vectors(rows)
    assert found.tobytes() == index.get_items(rows, return_type="numpy").tobytes()


@ENGINES
@pytest.mark.parametrize("every", [2, 7, 59])
def test_of_the_rows_of_a_mask_the_nearest_are_found(
    engine: Any, every: int, tmp_path: Path
) -> None:
    """No other row is; also where fewer pass than the search asks for, and all of them."""
    loaded = engine.load(engine.write(tmp_path, "shard", VECTORS, build("hnsw")), 16, 60)
    mask = np.arange(60) % every == 1
    rows = np.flatnonzero(mask)
    scores = VECTORS[:5] @ VECTORS[rows].T
    for k in {1, len(rows)}:
        found, told = loaded.nearest(VECTORS[:5], k, 64, 1, mask)
        expected = np.sort(scores, axis=1)[:, ::-1][:, :k]
        assert set(found.ravel().tolist()) <= set(rows.tolist())
        np.testing.assert_allclose(told, expected, atol=2e-3)


def test_where_nearly_all_rows_are_hidden_the_rest_is_found(tmp_path: Path) -> None:
    """Though fewer than were asked for, as rows may be hidden after a search has begun."""
    loaded = hnsw.load(hnsw.write(tmp_path, "shard", VECTORS, build("hnsw")), 16, 60)
    loaded.hide(np.arange(3, 60))
    rows, scores = loaded.nearest(VECTORS[:5], 10, 64, 1)

    assert [[0, 1, 2]] * 5 == np.sort(rows, axis=1).tolist()
    expected = -np.sort(-(VECTORS[:5] @ VECTORS[:3].T), axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@ENGINES
def test_an_index_of_other_vectors_is_refused(engine: Any, tmp_path: Path) -> None:
    """Of another length, of another number, or of nothing at all."""
    paths = engine.write(tmp_path, "shard", VECTORS, build("hnsw"))
    for dim, count in ((8, 60), (16, 61)):
        with pytest.raises(BadIndex):
            engine.load(paths, dim, count)
    paths.index_path.write_bytes(b"x" * 10)
    with pytest.raises(BadIndex):
        engine.load(paths, 16, 60)


@ENGINES
def test_a_shard_without_images_can_be_written(engine: Any, tmp_path: Path) -> None:
    """As one of many of a small collection."""
    paths = engine.write(tmp_path, "shard", VECTORS[:0], build("hnsw"))

    assert engine.load(paths, 16, 0) is not None


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is resident")
def test_a_loaded_file_is_in_memory_once(tmp_path: Path) -> None:
    """hnswlib holds a copy of it; of the file itself, only what is read later is resident."""
    vectors = np.random.default_rng(0).standard_normal((2_000, 512)).astype(np.float32)
    paths = hnsw.write(tmp_path, "shard", vectors, Build("hnsw", 4, 8, 1, 8))
    loaded = hnsw.load(paths, 512, len(vectors))
    lines = Path("/proc/self/smaps").read_text().splitlines()
    mapping = next(at for at, line in enumerate(lines) if line.endswith(str(paths.index_path)))
    resident_kb = next(int(line.split()[1]) for line in lines[mapping:] if line.startswith("Rss:"))

    assert resident_kb < paths.index_path.stat().st_size / 1000 / 4
    np.testing.assert_array_equal(loaded.vectors(np.arange(2_000)), vectors)
