"""Shards that are built as tasks: by killed runs, and by two processes at a time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from common.files import replace_bytes
from prepare.plans import PlanFolder, Worker
from prepare.shard_tasks import ShardBuilder
from search.manifest import SEGMENTS
from tests.prepare.vector_index import VectorIndex

SHARDS = 4


class Killed(Exception):
    """The end of a run."""


def dies(plan: PlanFolder, worker: Worker) -> list[int]:
    """Build two of the shards, not the first, which checks the only chunk."""
    worker.work(plan, [1, 3])
    raise Killed


def vectors_of(index: VectorIndex) -> Path:
    """The file with the vectors of the only chunk."""
    return index.loaded.path(index.loaded.config.prepare.embedding_dir) / "chunk-000001.npy"


def turn(vectors: Path) -> None:
    """Give each image the vector of another."""
    np.save(vectors, np.load(vectors)[::-1])


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


def test_changed_vectors_are_told(index: VectorIndex) -> None:
    """By the task that checks their chunk; nothing is put in use."""
    turn(vectors_of(index))
    with pytest.raises(ConfigError, match=r"chunk-000001\.npy is not as it was written"):
        index.build()
    assert not (index.folders.index / "CURRENT").exists()


def test_what_was_built_from_changed_vectors_is_built_again(tmp_path: Path) -> None:
    """Once they are as they were: other tasks may have been done before one told of them."""
    index = VectorIndex(tmp_path, shards=SHARDS).add(range(300))
    vectors = vectors_of(index)
    before = vectors.read_bytes()

    def reads_others(plan: PlanFolder, worker: Worker) -> list[int]:
        turn(vectors)
        return dies(plan, worker)

    with pytest.raises(Killed):
        index.build(reads_others)
    replace_bytes(vectors, before)

    assert index.build().recall.value == 1.0


def test_recall_is_that_of_all_shards(tmp_path: Path) -> None:
    """A part of them measures the same as all, and what a shard lacks counts."""
    one, four = (VectorIndex(tmp_path / str(n), shards=n).add(range(300)) for n in (1, SHARDS))
    assert one.build().recall == four.build().recall
    assert np.isclose(one.build().recall.value, 1.0)
