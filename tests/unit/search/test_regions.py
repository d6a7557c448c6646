"""Regions: vectors of parts of images, of which each image is found by its best."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.wire import Matrix
from search.ann_index import Build
from search.fields import fields_of_index
from search.filter import Filter
from search.image_key import IMAGE_KEY
from search.index import load_segment
from search.manifest import BadIndex
from search.messages import Hits, Record
from search.regions import REGION, RegionRows, Regions, read_regions
from search.segment import Segment
from search.segment_writing import SegmentRows, write_segment
from search.shard import Shard
from tests.unit.indexing import folders_in

IMAGES, EACH, DIM = 60, 3, 8
BOXES = np.array([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0.25, 0.25, 0.75, 0.75]], "<f4")
Found = list[tuple[int, float, list[float]]]


def units(seed: int, count: int) -> Matrix:
    """Random unit vectors."""
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


WHOLE, QUERIES = units(0, IMAGES), units(1, 16)
PARTS = units(2, IMAGES // 2 * EACH)  # of every other image
OWNERS = np.repeat(np.arange(0, IMAGES, 2), EACH)


@pytest.fixture(params=["exact", "hnsw"])
def segment(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Segment:
    """Sixty images, half of them with three regions each; hnswlib's graph is always searched."""
    if request.param == "hnsw":
        monkeypatch.setattr("search.segment.WALK_US", 0)
    folders = folders_in(tmp_path)
    for folder in folders.all():
        (folder / "v000001").mkdir()
    keys = np.zeros(IMAGES, IMAGE_KEY)
    keys["content"] = np.arange(IMAGES)
    records = [Record(f"{i}.jpg", {"third": i % 3 == 0}) for i in range(IMAGES)]
    places = np.zeros(len(PARTS), REGION)
    places["row"], places["box"] = OWNERS, np.tile(BOXES, (IMAGES // 2, 1))
    rows = SegmentRows(WHOLE, keys, records, RegionRows(PARTS, places))
    files = write_segment(
        *(folders, "v000001", 0, rows, Build("hnsw", 16, 100, 1, 200), fields_of_index(records))
    )
    total = IMAGES + len(PARTS) if request.param == "exact" else 10**6
    return load_segment(folders, DIM, files, total)


def exact(query: Matrix, k: int, passes: Callable[[int], bool] = lambda _: True) -> Found:
    """The best images of a query, each with its best region, by all vectors."""
    best: dict[int, tuple[float, list[float]]] = {}
    for row, score in enumerate((WHOLE @ query).tolist()):
        best[row] = score, [0.0] * 4
    for place, score in enumerate((PARTS @ query).tolist()):
        row = int(OWNERS[place])
        best[row] = max(best[row], (score, BOXES[place % EACH].tolist()))
    ranked = sorted(((row, *found) for row, found in best.items()), key=lambda hit: -hit[1])
    return [hit for hit in ranked if passes(hit[0])][:k]


def found(hits: Hits) -> Found:
    """The images of hits, with scores and regions."""
    keys = np.frombuffer(hits.keys, IMAGE_KEY)["content"].tolist()
    scores = np.frombuffer(hits.scores, "<f4").tolist()
    return list(
        zip(keys, scores, np.frombuffer(hits.regions, "<f4").reshape(-1, 4).tolist(), strict=True)
    )


def assert_same(hits: Hits, expected: Found) -> None:
    got = found(hits)
    assert [(row, box) for row, _, box in got] == [(row, box) for row, _, box in expected]
    assert [score for _, score, _ in got] == pytest.approx([one[1] for one in expected], abs=2e-3)


@pytest.mark.parametrize("k", [1, 10, IMAGES])
def test_each_image_is_found_once_by_its_best_part(segment: Segment, k: int) -> None:
    """As exact search finds it, with the region; zeros for all of the image."""
    for query, hits in zip(QUERIES, segment.rank(QUERIES, [k] * 16, 200, 1).hits(), strict=True):
        assert_same(hits, exact(query, k))
    assert segment.count == IMAGES


def test_filters_and_tombstones_concern_images(segment: Segment) -> None:
    """With all their regions; shown again, they are found again."""
    third = Filter(field="third", eq=True)
    segment.hide(np.array([0, 6, 7]))

    def passes(row: int) -> bool:
        return row not in (0, 6, 7)

    for query, hits in zip(QUERIES, segment.rank(QUERIES, [7] * 16, 200, 1).hits(), strict=True):
        assert_same(hits, exact(query, 7, passes))
    for k in (5, IMAGES):
        for query, hits in zip(
            QUERIES, segment.rank(QUERIES, [k] * 16, 200, 1, third).hits(), strict=True
        ):
            assert_same(hits, exact(query, k, lambda row: row % 3 == 0 and passes(row)))
    assert segment.counts(None, []).images == IMAGES - 3
    whole = segment.of_version(np.array([], np.int64))
    whole.put_in_use()
    assert_same(whole.rank(QUERIES[:1], [IMAGES], 200, 1).hits()[0], exact(QUERIES[0], IMAGES))
    segment.put_in_use()
    for query, hits in zip(QUERIES, segment.rank(QUERIES, [7] * 16, 200, 1).hits(), strict=True):
        assert_same(hits, exact(query, 7, passes))


def test_a_shard_tells_regions_beside_images_without_any(segment: Segment) -> None:
    """Such as one that was put: it is found whole."""
    shard = Shard([segment])
    key = np.zeros(1, IMAGE_KEY)
    key["content"] = 1000
    shard.put(key.tobytes(), QUERIES[0], b"\x91\xa5a.jpg")
    (hits,) = shard.rank(QUERIES[:1], [5], 200, 1).hits()

    assert found(hits)[0][::2] == (1000, [0.0] * 4)
    assert [one[0] for one in found(hits)[1:]] == [one[0] for one in exact(QUERIES[0], 4)]
    assert [one[2] for one in found(hits)[1:]] == [one[2] for one in exact(QUERIES[0], 4)]


def test_the_best_of_each_takes_as_many_vectors_as_it_needs() -> None:
    """All regions of one image come first here."""
    places = np.zeros(40, REGION)
    places["box"] = 1
    regions = Regions(3, places)
    order = np.array([[*range(3, 43), 1, 0, 2]])

    labels, _ = regions.best_of_each(
        lambda wanted: (order[:, :wanted], np.zeros((1, wanted), np.float32)), 3, 43
    )
    assert labels.tolist() == [[3, 1, 2]]


def test_regions_of_another_segment_are_refused(tmp_path: Path) -> None:
    """Rows that are not there, or are not in order."""
    for rows in ([0, 5], [1, 0]):
        places = np.zeros(2, REGION)
        places["row"] = rows
        places.tofile(tmp_path / "regions")
        with pytest.raises(BadIndex):
            read_regions(tmp_path / "regions", 5)
