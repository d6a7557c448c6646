"""How much of what is truly nearest an index finds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from common.wire import Matrix
from prepare.recall import recall, share_of
from search.image_key import IMAGE_KEY
from search.index import load_segment
from search.messages import Hits, Record
from search.ranking import Ranking, rank_hits
from search.regions import REGION, RegionRows
from search.segment_writing import SegmentRows, write_segment
from search.shard import Shard
from search.shard_loading import load_shard
from tests.unit.indexing import BUILD, content_of, folders_in, write_version

VECTORS = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


class Forgetful:
    """Finds all of a shard's hits but the best."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def rank(self, queries: Any, ks: list[int], ef: int, threads: int) -> Ranking:
        found = self._shard.rank(queries, [k + 1 for k in ks], ef, threads).hits()
        return rank_hits([Hits(one.scores[4:], one.keys[24:], one.records[1:]) for one in found])


def rows_of(shard: int, count: int) -> SegmentRows:
    """The images of a shard."""
    keys = np.zeros(len(VECTORS), IMAGE_KEY)
    keys["content"] = [content_of(number, len(VECTORS)) for number in range(len(VECTORS))]
    chosen = np.array_split(np.arange(len(VECTORS)), count)[shard]
    return SegmentRows(VECTORS[chosen], keys[chosen], [])


def of_all(queries: Matrix, shards: Sequence[tuple[Shard, SegmentRows]], k: int) -> float:
    """The recall of some shards together."""
    return recall([share_of(queries, shard, rows, k, 64) for shard, rows in shards], k)


@pytest.mark.parametrize("count", [1, 2])
def test_a_whole_index_finds_everything_and_a_forgetful_one_does_not(
    tmp_path: Path, count: int
) -> None:
    """Over all shards together."""
    folders = folders_in(tmp_path)
    manifest = write_version(folders, "v000001", VECTORS, range(count))
    shards = [
        (Shard(list(load_shard(folders, manifest, number, {}).values())), rows_of(number, count))
        for number in range(count)
    ]
    queries = VECTORS[:10]

    forgetful = [(cast(Shard, Forgetful(shard)), rows) for shard, rows in shards]
    assert of_all(queries, shards, 5) == 1.0
    assert of_all(queries, shards, len(VECTORS)) == 1.0
    assert of_all(queries, forgetful, 5) <= 0.8


def test_an_image_counts_by_its_best_region(tmp_path: Path) -> None:
    """An index that finds it so has all; one of whole images alone has not."""
    folders = folders_in(tmp_path)
    places = np.zeros(30, REGION)
    places["row"] = np.arange(30) // 3
    with_regions = rows(VECTORS[:10])._replace(regions=RegionRows(VECTORS[10:], places))
    shards = []
    for version, written in (("v000001", with_regions), ("v000002", rows(VECTORS[:10]))):
        for folder in folders.all():
            (folder / version).mkdir()
        files = write_segment(folders, version, 0, written, BUILD)
        shards.append(Shard([load_segment(folders, 8, files, 1_000_000)]))

    assert of_all(VECTORS, [(shards[0], with_regions)], 3) == 1.0
    assert of_all(VECTORS, [(shards[1], with_regions)], 3) < 0.9


def rows(vectors: Matrix) -> SegmentRows:
    """Images with these vectors."""
    keys = np.zeros(len(vectors), IMAGE_KEY)
    keys["content"] = np.arange(len(vectors))
    return SegmentRows(vectors, keys, [Record("a.jpg")] * len(vectors))
