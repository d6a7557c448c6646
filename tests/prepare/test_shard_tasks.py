"""Shards that are built as tasks: by killed runs, and by two processes at a time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from prepare.plans import PlanFolder, Worker
from prepare.shard_tasks import ShardBuilder
from search.manifest import SEGMENTS
from tests.prepare.vector_index import VectorIndex

SHARDS = 4


class Killed(Exception):
    """The end of a run."""


def dies(plan: PlanFolder, worker: Worker) -> list[int]:
    """Build two of the shards."""
    worker.work(plan, [0, 2])
    raise Killed


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    """Images of which a killed run has built two shards."""
    made = VectorIndex(tmp_path, shards=SHARDS).add(range(300))
    with pytest.raises(Killed):
        made.build(dies)
    assert len(segments(made)) == 2
    return made


def segments(index: VectorIndex) -> set[str]:
    """The names of the segments that are there; each is whole in all three folders."""
    names = [
        {path.name.partition(".")[0] for path in (folder / SEGMENTS).iterdir()}
        for folder in index.folders.all()
    ]
    assert names == [names[0]] * 3
    return names[0]


def test_what_is_built_is_not_built_again(index: VectorIndex) -> None:
    """The next run has the same plan; nothing of it stays."""
    built = segments(index)
    manifest = index.build()

    assert built < {segment.name for segment in manifest.segments} == segments(index)
    assert manifest.version == "v000001"
    assert [path.name for path in (index.folders.index / "v000001").iterdir()] == ["MANIFEST"]
    assert manifest.recall.value == 1.0


def test_after_a_change_what_was_built_goes(index: VectorIndex) -> None:
    """It is another plan."""
    manifest = index.add(range(300, 320)).build()

    assert {segment.name for segment in manifest.segments} == segments(index)
    assert [path.name for path in (index.folders.index / "v000001").iterdir()] == ["MANIFEST"]


def test_two_may_build_the_same_shards(index: VectorIndex) -> None:
    """At the same time: the version has whole segments of one or the other, and no others stay."""

    def twice(plan: PlanFolder, worker: Worker) -> list[int]:
        missing = plan.missing()
        workers = worker, ShardBuilder(index.loaded)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda one: one.work(plan, missing), workers))
        return missing

    manifest = index.build(twice)
    assert {segment.name for segment in manifest.segments} == segments(index)


def test_recall_is_that_of_all_shards(tmp_path: Path) -> None:
    """A part of them measures the same as all, and what a shard lacks counts."""
    one, four = (VectorIndex(tmp_path / str(n), shards=n).add(range(300)) for n in (1, SHARDS))
    assert one.build().recall == four.build().recall
    assert np.isclose(one.build().recall.value, 1.0)
