"""How much of what is truly nearest an index finds."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from prepare.recall import recall
from search.index import load_shard
from search.messages import Hits
from search.segment import Segment
from tests.unit.indexing import folders_in, write_version

VECTORS = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


class Forgetful:
    """Finds all of a shard's hits but the best."""

    def __init__(self, shard: Segment) -> None:
        self._shard = shard
        self.find = shard.find

    def search(self, queries: Any, ks: list[int], ef: int, threads: int) -> list[Hits]:
        found = self._shard.search(queries, [k + 1 for k in ks], ef, threads)
        return [Hits(one.scores[4:], one.keys[24:], one.records[1:]) for one in found]


@pytest.mark.parametrize("count", [1, 2])
def test_a_whole_index_finds_everything_and_a_forgetful_one_does_not(
    tmp_path: Path, count: int
) -> None:
    """Over all shards together."""
    folders = folders_in(tmp_path)
    manifest = write_version(folders, "v000001", VECTORS, range(count))
    shards = [
        (load_shard(folders, "v000001", 8, files, 1_000_000), VECTORS[number::count])
        for number, files in enumerate(manifest.shards)
    ]
    queries = VECTORS[:10]

    forgetful = [(cast(Segment, Forgetful(shard)), vectors) for shard, vectors in shards]
    assert recall(queries, shards, 5, 64) == 1.0
    assert recall(queries, shards, 100, 64) == 1.0
    assert recall(queries, forgetful, 5, 64) <= 0.8
