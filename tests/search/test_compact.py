"""The compact index: as good as brute force, small, and nothing but what was written is loaded."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from common.wire import Matrix
from search.index import load_segment
from search.manifest import SEGMENTS, BadIndex, Folders
from search.segment import Segment
from search.segment_files import SegmentFiles, describe
from tests.search.shards import (
    folders_in,
    load_vectors,
    make_clusters,
    search,
    write_vectors,
)

COUNT = 3000
DIM = 64


@pytest.fixture(scope="module")
def vectors() -> Matrix:
    """The vectors of the shard, and the queries after them."""
    return make_clusters(COUNT + 200, DIM)


@pytest.fixture(scope="module")
def queries(vectors: Matrix) -> Matrix:
    """Vectors of the same clusters that are not in the shard."""
    return vectors[COUNT:]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory, vectors: Matrix) -> Segment:
    """A compact shard."""
    return load_vectors(tmp_path_factory.mktemp("shard"), vectors[:COUNT], "compact")


def test_a_compact_shard_finds_what_brute_force_does(
    shard: Segment, vectors: Matrix, queries: Matrix
) -> None:
    """At high ef over .98 of the true ten, and the scores of all are cosines to 1e-3."""
    exact = queries @ vectors[:COUNT].T
    true = np.argsort(-exact, axis=1)[:, :10].tolist()

    rows, scores = search(shard, queries, 10, 400)

    shares = [len(set(one) & set(best)) / 10 for one, best in zip(rows, true, strict=True)]
    assert np.mean(shares) > 0.98
    np.testing.assert_allclose(np.take_along_axis(exact, np.array(rows), 1), scores, atol=1e-3)
    assert (np.diff(scores) <= 0).all()


def test_scores_and_vectors_are_those_of_float16(
    shard: Segment, vectors: Matrix, queries: Matrix
) -> None:
    """Not of bytes: a vector is the written one rounded to float16, a score its inner product."""
    rounded = vectors[:COUNT].astype(np.float16).astype(np.float32)

    rows, scores = search(shard, queries, 10, 64)

    assert [rounded[row].tolist() for row in (0, 7, COUNT - 1)] == [
        shard.vector(row).tolist() for row in (0, 7, COUNT - 1)
    ]
    expected = np.einsum("nkd,nd->nk", rounded[rows], queries)
    np.testing.assert_allclose(expected, scores, rtol=0, atol=1e-6)


def test_a_batch_is_answered_as_its_queries_alone(shard: Segment, queries: Matrix) -> None:
    """Whatever else is in the batch, and whatever k the others want."""
    ks = [1, 10, 64, 3, 100, 17]
    batch = shard.rank(queries[:6], ks, 64, 2).hits()

    for query, k, hits in zip(queries[:6], ks, batch, strict=True):
        (alone,) = shard.rank(query[None], [k], 64, 1).hits()
        assert alone.keys == hits.keys


def test_all_are_found_where_too_few_are_linked(tmp_path: Path, vectors: Matrix) -> None:
    """With hardly a link from image to image, as many as are wanted are found nevertheless."""
    loose = load_vectors(tmp_path, vectors[:COUNT], "compact", links=2)

    rows, _ = search(loose, vectors[:3], COUNT, 64)

    assert [set(range(COUNT))] * 3 == [set(one) for one in rows]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_shards(tmp_path: Path, vectors: Matrix, count: int) -> None:
    """None, one and two images are written, loaded and searched."""
    tiny = load_vectors(tmp_path, vectors[:count], "compact")

    (hits,) = tiny.rank(vectors[:1], [10], 64, 1).hits()

    assert [f"{row}.jpg" for row in range(count)] == sorted(
        msgspec.msgpack.decode(record)[0] for record in hits.records
    )


def test_an_image_of_512_dimensions_takes_700_bytes_of_memory(tmp_path: Path) -> None:
    """The files that are read into memory, the index, keys and offsets, are no larger."""
    count = 2000
    folders = folders_in(tmp_path)
    files = write_vectors(folders, make_clusters(count, 512), "compact")

    resident = files.index.size_bytes + files.hashes.size_bytes + files.offsets.size_bytes

    assert resident <= 700 * count
    assert files.vectors is not None
    assert files.vectors.size_bytes == 2 * 512 * count


def resealed(folders: Folders, files: SegmentFiles) -> SegmentFiles:
    """The files as a manifest would tell of them that was written after they were changed."""
    folder = folders.index / SEGMENTS
    assert files.vectors is not None
    return msgspec.structs.replace(
        files,
        index=describe(folder / files.index.name),
        vectors=describe(folder / files.vectors.name),
    )


@pytest.mark.parametrize("suffix", ["compact", "float16"])
def test_a_truncated_file_is_refused_even_with_its_own_digest(
    tmp_path: Path, vectors: Matrix, suffix: str
) -> None:
    """Cut anywhere, and with a digest that fits: an error that names the file, not a crash."""
    folders = folders_in(tmp_path)
    files = write_vectors(folders, vectors[:500], "compact")
    path = folders.index / SEGMENTS / f"{files.name}.{suffix}"
    data = path.read_bytes()
    for share in (0, 0.001, 0.1, 0.5, 0.9, 0.99999):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(BadIndex, match=path.name):
            load_segment(folders, DIM, files, 1_000_000)
        with pytest.raises(BadIndex, match=path.name):
            load_segment(folders, DIM, resealed(folders, files), 1_000_000)


def test_a_file_of_another_kind_or_shard_is_refused(tmp_path: Path, vectors: Matrix) -> None:
    """hnswlib's file as faiss's, faiss's as hnswlib's, other counts and dimensions, no vectors."""
    folders = folders_in(tmp_path)
    files = write_vectors(folders, vectors[:300], "compact")
    other = write_vectors(folders, vectors[:300], "hnsw", 1)
    fewer = write_vectors(folders, vectors[:200], "compact", 2)
    narrow = write_vectors(folders, np.ascontiguousarray(vectors[:300, :32]), "compact", 3)
    changes: list[dict[str, Any]] = [
        {"index": other.index},
        {"index": fewer.index},
        {"index": narrow.index},
        {"index": files.records},
        {"vectors": fewer.vectors},
        {"vectors": narrow.vectors},
        {"vectors": None},
        {"kind": "hnsw"},
    ]
    for change in changes:
        with pytest.raises(BadIndex):
            load_segment(folders, DIM, msgspec.structs.replace(files, **change), 1_000_000)
    assert 300 == load_segment(folders, DIM, files, 1_000_000).count
