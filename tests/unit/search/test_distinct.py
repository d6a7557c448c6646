"""Equal vectors are linked once: all are found, in the order in which exact search finds them."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.config import IndexKind
from common.wire import Matrix
from devtools.vectors import unit
from search import hnsw
from search.ann_index import Build, HidingIndex, Numbers
from search.distinct import Groups, groups_of, of_rows, read_groups
from search.fields import fields_of_index
from search.filter import Filter
from search.image_key import IMAGE_KEY
from search.index import load_segment
from search.manifest import SEGMENTS, BadIndex
from search.messages import Record
from search.regions import REGION, RegionRows
from search.segment import Segment
from search.segment_writing import SegmentRows, write_segment
from tests.search.shards import VERSION, folders_in, load_vectors, make_clusters, search

KINDS = pytest.mark.parametrize("kind", ["hnsw", "compact"])
COUNT, DIM, BLANK = 4000, 32, 900


def spoiled(vectors: Matrix) -> Matrix:
    """Some vectors, mixed: of 4,000 are 900 equal, and 600 in groups of 30."""
    vectors = vectors.copy()
    vectors[:BLANK] = vectors[0]
    for start in range(BLANK, BLANK + 600, 30):
        vectors[start : start + 30] = vectors[start]
    mixed: Matrix = vectors[np.random.default_rng(4).permutation(len(vectors))]
    return mixed


VECTORS = spoiled(make_clusters(COUNT, DIM))
FEW = spoiled(make_clusters(COUNT, DIM))[:300]


def near(vectors: Matrix) -> Matrix:
    """Queries near some vectors."""
    noise = np.random.default_rng(5).standard_normal(vectors.shape).astype(np.float32)
    return unit(vectors + 0.1 * noise)


def copied(vectors: Matrix) -> Numbers:
    """The first of each three rows or more that are equal."""
    groups = groups_of(vectors)
    assert groups
    return groups.firsts[groups.sizes > 2]


@KINDS
def test_copies_hide_no_other_image(kind: IndexKind, tmp_path: Path) -> None:
    """Of no kind: the best ten scores near copies and elsewhere are those of exact search."""
    segment = load_vectors(tmp_path, VECTORS, kind)
    queries = near(np.concatenate([VECTORS[copied(VECTORS)], VECTORS[::40]]))
    best = -np.sort(-(queries @ VECTORS.T), axis=1)[:, :10]
    rows, scores = search(segment, queries, 10, 64)

    assert (scores >= best - 1e-3).mean() > 0.995
    assert (scores[:20] >= best[:20] - 1e-3).all()
    exact = np.take_along_axis(queries @ VECTORS.T, np.array(rows), axis=1)
    np.testing.assert_allclose(scores, exact, atol=2e-3)


@KINDS
@pytest.mark.parametrize("k", [1, 10, 100, 300])
@pytest.mark.parametrize("total", [300, 1_000_000], ids=["exact", "graph"])
def test_equal_vectors_come_in_the_order_of_their_keys(
    kind: IndexKind, k: int, total: int, tmp_path: Path
) -> None:
    """By exact search and by the graph, and where a group is cut off; each has its own vector."""
    segment = load_vectors(tmp_path, FEW, kind, total=total)
    rows, scores = search(segment, QUERIES, k, 300)
    written = np.array([segment.vector(row) for row in range(300)], np.float64)
    cosines = np.array([(written * query).sum(axis=1) for query in QUERIES])

    assert np.argsort(-cosines, axis=1, kind="stable")[:, :k].tolist() == rows
    np.testing.assert_allclose(scores, -np.sort(-cosines)[:, :k], atol=1e-5)
    np.testing.assert_allclose(written, FEW, atol=1e-3)


def of_even_rows(tmp_path: Path, kind: IndexKind, parts: Numbers | None = None) -> Segment:
    """A segment of `FEW`: rows say if they are even; some have the next row's vector, too."""
    folders = folders_in(tmp_path)
    keys = np.zeros(len(FEW), IMAGE_KEY)
    keys["content"] = np.arange(len(FEW))
    records = [Record(f"{row}.jpg", {"even": row % 2 == 0}) for row in range(len(FEW))]
    rows = SegmentRows(FEW, keys, records)
    if parts is not None:
        places = np.zeros(len(parts), REGION)
        places["row"], places["box"] = parts, 0.5
        rows = rows._replace(regions=RegionRows(FEW[parts + 1], places))
    files = write_segment(
        *(folders, VERSION, 0, rows, Build(kind, 16, 200, 1, 64), fields_of_index(records))
    )
    return load_segment(folders, DIM, files, 1_000_000)


EVEN = Filter(field="even", eq=True)
QUERIES = near(FEW[[*copied(FEW)[:5], 1, 2]])


def assert_finds(
    segment: Segment, k: int, passes: Callable[[int], bool], passing: Filter | None = None
) -> None:
    """Whether the best scores of the rows that pass are found, and no other row."""
    rows = np.array([row for row in range(len(FEW)) if passes(row)])
    found = segment.rank(QUERIES, [k] * len(QUERIES), 300, 1, passing).hits()
    for query, hits in zip(QUERIES, found, strict=True):
        got = np.frombuffer(hits.keys, IMAGE_KEY)["content"].tolist()
        assert len(set(got)) == len(got) == min(k, len(rows))
        assert all(map(passes, got))
        best = -np.sort(-(FEW[rows] @ query))[:k]
        np.testing.assert_allclose(np.frombuffer(hits.scores, "<f4"), best, atol=2e-3)


@KINDS
@pytest.mark.parametrize("k", [10, 100, 300])
def test_filters_and_tombstones_concern_single_rows(
    kind: IndexKind, k: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal vectors, too: some hidden, all of a group hidden, and all shown again."""
    monkeypatch.setattr("search.segment.WALK_US", 0)  # the graph is always searched
    segment = of_even_rows(tmp_path, kind)
    assert_finds(segment, k, lambda row: row % 2 == 0, EVEN)
    blank = np.flatnonzero((FEW == FEW[copied(FEW)[0]]).all(axis=1))
    for hidden in (blank[::2], blank, np.arange(0, 300, 7)):
        of_version = segment.of_version(hidden)
        of_version.put_in_use()
        assert_finds(of_version, k, lambda row: row not in hidden)  # noqa: B023
        assert_finds(of_version, k, lambda row: row % 2 == 0 and row not in hidden, EVEN)  # noqa: B023
    segment.put_in_use()
    assert_finds(segment, k, lambda _: True)
    for row in blank:
        segment.hide(np.array([row, row]))
    assert_finds(segment, k, lambda row: row not in blank)


@KINDS
def test_regions_may_be_equal_to_images(
    kind: IndexKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image is found once, by the best of its vectors."""
    monkeypatch.setattr("search.segment.WALK_US", 0)
    owners = np.arange(0, 298, 3)
    segment = of_even_rows(tmp_path, kind, owners)
    cosines = FEW @ QUERIES.T
    cosines[owners] = np.maximum(cosines[owners], cosines[owners + 1])

    for k, one in ((10, 1), (100, 1), (150, 2)):
        passing = EVEN if one == 2 else None
        found = segment.rank(QUERIES, [k] * len(QUERIES), 600, 1, passing).hits()
        for hits, told in zip(found, cosines.T, strict=True):
            got = np.frombuffer(hits.keys, IMAGE_KEY)["content"]
            best = -np.sort(-told[::one])[:k]
            assert len(set(got.tolist())) == k
            np.testing.assert_allclose(np.frombuffer(hits.scores, "<f4"), best, atol=2e-3)
            np.testing.assert_allclose(told[got], best, atol=2e-3)


def test_rows_may_be_hidden_while_others_search(tmp_path: Path) -> None:
    """What was hidden before a search is not found, and of the others as many as are wanted."""
    segment = of_even_rows(tmp_path, "hnsw")
    hidden: list[int] = []

    def hide() -> None:
        for row in range(0, 250):
            segment.hide(np.array([row]))
            hidden.append(row)

    hiding = threading.Thread(target=hide)
    hiding.start()
    while hiding.is_alive():
        before = set(hidden)
        for hits in segment.rank(QUERIES, [20] * len(QUERIES), 64, 1).hits():
            got = np.frombuffer(hits.keys, IMAGE_KEY)["content"].tolist()
            assert len(got) == 20
            assert not before.intersection(got)
    hiding.join()
    assert_finds(segment, 20, lambda row: row >= 250)


@KINDS
def test_a_segment_that_links_every_vector_is_read(
    kind: IndexKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of earlier releases have no file of equal vectors."""
    monkeypatch.setattr("search.segment_writing.groups_of", lambda _: None)
    segment = load_vectors(tmp_path, FEW, kind)

    rows, _ = search(segment, FEW[1:2], 300, 300)
    assert set(range(300)) == set(rows[0])
    assert not list((tmp_path / "index" / SEGMENTS).glob("*.distinct"))


def test_equal_vectors_take_the_place_of_one(tmp_path: Path) -> None:
    """In the file of the graph, which holds nearly all there is."""
    (tmp_path / "copies").mkdir()
    for name, vectors in (("alone", FEW[:1]), ("copies", np.repeat(FEW[:1], 200, axis=0))):
        load_vectors(tmp_path / name, vectors, "hnsw")
    alone, copies = (next((tmp_path / n / "index").rglob("*.hnsw")) for n in ("alone", "copies"))

    assert copies.stat().st_size == alone.stat().st_size
    assert groups_of(FEW[copied(FEW)]) is None
    assert groups_of(FEW[:0]) is None


@pytest.mark.parametrize("nodes", [[0, 1], [0, 1, 1, 0], [1, 0, 0], [0, 2, 1]])
def test_equal_vectors_of_another_segment_are_refused(tmp_path: Path, nodes: list[int]) -> None:
    """Too few, too many, or in an order that none are written in."""
    np.array(nodes, "<u4").tofile(tmp_path / "distinct")
    with pytest.raises(BadIndex, match="another shard"):
        read_groups(tmp_path / "distinct", 3)


def test_a_query_with_fewer_rows_shortens_all() -> None:
    """Rows may be hidden between a search and the look at its hits."""
    groups = Groups(np.array([0, 1, 1, 2, 1], np.uint32))
    found = np.array([[1, 0], [0, 2]]), np.array([[0.9, 0.8], [0.7, 0.6]], np.float32)

    labels, scores = groups.rows(found, 3)
    assert labels.tolist() == [[1, 2], [0, 3]]
    np.testing.assert_allclose(scores, [[0.9, 0.9], [0.7, 0.6]])
    labels, _ = groups.rows(found, 3, np.array([True, False, True, False, True]))
    assert labels.tolist() == [[2], [0]]
    labels, scores = groups.rows(found, 3, np.zeros(5, np.bool_))
    assert (labels.shape, scores.shape) == ((2, 0), (2, 0))


def test_all_may_be_hidden_since_the_rows_were_counted(tmp_path: Path) -> None:
    """Then a search finds none; and all again once they are shown."""
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    groups = groups_of(vectors)
    assert groups
    paths = hnsw.write(tmp_path, "shard", vectors[groups.firsts], Build("hnsw", 16, 100, 1, 10))
    index = of_rows(hnsw.load(paths, 4, 3), groups)
    assert isinstance(index, HidingIndex)
    index.hide(np.arange(4))

    assert index.nearest(vectors[:2], 3, 10, 1)[0].shape == (2, 0)
    index.hide_only(np.array([0]))
    assert index.nearest(vectors[:1], 3, 10, 1)[0][0, 0] == 1
