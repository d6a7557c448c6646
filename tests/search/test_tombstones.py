"""Hidden rows of a segment, in each kind of index: never found, and found again once shown."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.wire import Matrix
from search.exact import Exact
from search.filter import Filter
from search.segment import Segment
from tests.search.shards import load_vectors, make_clusters, search

COUNT, DIM, K = 400, 16, 10
VECTORS = make_clusters(COUNT, DIM)
QUERIES = make_clusters(COUNT, DIM)[::40]


@pytest.fixture(params=["hnsw", "compact", "exact"])
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Segment:
    """400 images; the path of image i is i.jpg."""
    kind = request.param
    segment = load_vectors(tmp_path, VECTORS, "hnsw" if kind == "exact" else kind)
    if kind == "exact":
        segment._ann, segment._hider = Exact(VECTORS), None
    return segment


def best(rows: np.ndarray, k: int = K) -> Matrix:
    """The scores of the k best of some rows for each query, best first."""
    scores: Matrix = -np.sort(-(QUERIES @ VECTORS[rows].T), axis=1)
    return scores[:, :k]


@pytest.mark.parametrize("hidden", [0, 3, 200, 395, 400])
def test_what_is_hidden_is_not_found_and_the_rest_is(segment: Segment, hidden: int) -> None:
    """However many rows are; twice hidden is hidden, and shown is as it was."""
    before = search(segment, QUERIES, K, COUNT)
    rows = np.random.default_rng(0).permutation(COUNT)
    gone, left = rows[:hidden], rows[hidden:]
    segment.hide(gone)
    segment.hide(gone[:2])
    found, scores = search(segment, QUERIES, K, COUNT)

    assert len(left) == segment.count
    assert all(set(rows).isdisjoint(gone.tolist()) for rows in found)
    np.testing.assert_allclose(scores, best(left), atol=2e-3)
    assert [None] * hidden == [segment.find(row, 0) for row in gone.tolist()]
    assert left.tolist() == [segment.find(row, 0) for row in left.tolist()]
    again = search(in_use(segment, rows[:0]), QUERIES, K, COUNT)
    assert before[0] == again[0]


def in_use(segment: Segment, tombstones: np.ndarray) -> Segment:
    """The same segment of a version that is in use."""
    other = segment.of_version(tombstones)
    other.put_in_use()
    return other


def test_versions_have_their_own_tombstones(segment: Segment) -> None:
    """Searches leave out those of the version in use, and what is hidden in any afterwards."""
    rows, versions = np.arange(COUNT), [segment]
    for first, end in ((0, 10), (5, 300), (0, 0)):
        one = in_use(segment, rows[first:end])
        versions.append(one)
        found, _ = search(one, QUERIES, K, COUNT)

        assert COUNT - (end - first) == one.count
        assert all(set(one).isdisjoint(range(first, end)) for one in found)
        assert [None] * (end - first) == [one.find(row, 0) for row in range(first, end)]
        assert end == one.find(end, 0)
    for one in versions:
        one.hide(np.array([399]))
        assert one.find(399, 0) is None
    assert all(399 not in found for found in search(one, QUERIES, K, COUNT)[0])


@pytest.mark.parametrize("prefix", ["1", "12", "123"])
def test_a_filter_passes_no_hidden_row(segment: Segment, prefix: str) -> None:
    """Whether many pass or few, by graph search or exactly."""
    passing = [row for row in range(COUNT) if str(row).startswith(prefix)]
    left = [row for row in passing if row % 3]
    segment.hide(np.arange(0, COUNT, 3))
    test = Filter(field="path", prefix=prefix)
    found = segment.rank(QUERIES, [K] * len(QUERIES), COUNT, 1, test).hits()
    scores = [np.frombuffer(hits.scores, "<f4") for hits in found]

    np.testing.assert_allclose(scores, best(np.array(left, int)), atol=2e-3)


def test_of_copies_the_next_is_found_by_number(segment: Segment) -> None:
    """The rows of this segment all have one number, as their contents are small."""
    assert 0 == segment.find_number(0)
    segment.hide(np.array([0, 1, 3]))
    assert 2 == segment.find_number(0)
    segment.hide(np.arange(COUNT))
    assert segment.find_number(0) is None


def test_rows_may_be_hidden_beside_searches(segment: Segment) -> None:
    """In any order: a search ends well, and never finds what was hidden before it began."""
    hidden, done = [0], threading.Event()

    def ask() -> int:
        searches = 0
        while not done.is_set():
            gone = hidden[0]
            found = segment.rank(QUERIES, [50] * len(QUERIES), 64, 1).hits()
            contents = np.frombuffer(b"".join([hits.keys for hits in found]), ">u8")[::3]
            assert (contents >= gone).all()
            searches += 1
        return searches

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for row in range(COUNT):
            segment.hide(np.array([row]))
            hidden[0] = row + 1
        done.set()
        assert all(future.result() for future in asking)
