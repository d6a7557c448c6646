"""How much of what is truly nearest an index finds."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from prepare.recall import recall
from search.image_key import IMAGE_KEY
from search.messages import Hits
from search.segment_writing import SegmentRows
from search.shard import Shard
from search.shard_loading import load_shard
from tests.unit.indexing import content_of, folders_in, write_version

VECTORS = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


class Forgetful:
    """Finds all of a shard's hits but the best."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def search(self, queries: Any, ks: list[int], ef: int, threads: int) -> list[Hits]:
        found = self._shard.search(queries, [k + 1 for k in ks], ef, threads)
        return [Hits(one.scores[4:], one.keys[24:], one.records[1:]) for one in found]


def rows_of(shard: int, count: int) -> SegmentRows:
    """The images of a shard."""
    keys = np.zeros(len(VECTORS), IMAGE_KEY)
    keys["content"] = [content_of(number, len(VECTORS)) for number in range(len(VECTORS))]
    chosen = np.array_split(np.arange(len(VECTORS)), count)[shard]
    return SegmentRows(VECTORS[chosen], keys[chosen], [])


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
    assert recall(queries, shards, 5, 64) == 1.0
    assert recall(queries, shards, 100, 64) == 1.0
    assert recall(queries, forgetful, 5, 64) <= 0.8
