"""Filtered search in a shard: exact where few images pass, by the graph where many do."""

import numpy as np
import pytest

from common.config import IndexKind
from common.wire import Matrix
from search.filter import Filter
from search.image_key import IMAGE_KEY
from search.segment import Segment
from tests.search.shards import load_vectors, make_clusters

COUNT = 6000
K = 10
QUERIES = 50


@pytest.fixture(scope="module", params=["hnsw", "compact"])
def shard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segment:
    """A shard whose image i has the path i.jpg."""
    kind: IndexKind = request.param
    return load_vectors(tmp_path_factory.mktemp("shard"), make_clusters(COUNT, 32), kind)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01, 0.001])
def test_recall_holds_however_few_pass(shard: Segment, share: float) -> None:
    """Any images pass; a graph search that drops the rest afterwards would miss most of a few."""
    rows = np.random.default_rng(2).choice(COUNT, int(share * COUNT), replace=False)
    assert recall(shard, np.sort(rows)) >= 0.95


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_recall_holds_where_the_images_of_a_topic_pass(shard: Segment, share: float) -> None:
    """The images nearest to one of them pass; the queries are from everywhere."""
    vectors = make_clusters(COUNT, 32)
    rows = np.argsort(-(vectors @ vectors[0]))[: int(share * COUNT)]
    assert recall(shard, np.sort(rows)) >= 0.95


def recall(shard: Segment, rows: np.ndarray) -> float:
    """The share of the true nearest among some rows that a search for their paths finds."""
    vectors = make_clusters(COUNT, 32)
    queries = vectors[:: COUNT // QUERIES]
    k = min(K, len(rows))
    wanted = rows[np.argsort(-(queries @ vectors[rows].T), axis=1)[:, :k]]
    found = shard.rank(queries, [K] * len(queries), 64, 1, paths(rows)).hits()
    hits = [np.frombuffer(one.keys, IMAGE_KEY)["content"].tolist() for one in found]
    assert {k} == {len(one) for one in hits}
    assert set(np.concatenate(hits).tolist()) <= set(rows.tolist())
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(hits, wanted, strict=True)]))


def paths(rows: np.ndarray) -> Filter:
    """A filter that images of some rows pass."""
    names = [f"{row}.jpg" for row in rows.tolist()]
    parts = [names[start : start + 256] for start in range(0, len(names), 256)]
    return Filter(or_=tuple(Filter(field="path", in_=tuple(part)) for part in parts))


def test_no_image_passes(shard: Segment) -> None:
    """Then there are no hits."""
    query: Matrix = make_clusters(COUNT, 32)[:1]
    (found,) = shard.rank(query, [K], 64, 1, Filter(field="path", eq="none")).hits()
    assert (b"", b"", []) == (found.scores, found.keys, found.records)
