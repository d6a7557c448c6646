"""Plans of chunks: what is done is taken up once, whenever a run is killed."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from prepare import chunks
from prepare.chunk_plans import open_chunk_plan
from prepare.chunks import Chunk, ChunkPlan, ChunkResult, EmbeddingFolder, Row, write_files
from prepare.journal import JOURNAL
from prepare.plans import Plan, PlanFolder


def row(number: int) -> Row:
    """The row of an image."""
    return Row(f"{number}.jpg", 3, 0, f"{number:016x}", "0b")


def chunk(number: int) -> Chunk:
    """A chunk of an image."""
    return Chunk(np.eye(1, dtype=np.float32), [row(number)], [])


def plan(first: int, name: str = "space", tasks: int = 3) -> Plan:
    """A plan of chunks of an image each."""
    head = ChunkPlan(name, first, "none", [1] * tasks)
    return Plan(head, b"", map(msgspec.msgpack.encode, range(tasks)))


def do(plan: PlanFolder, *tasks: int) -> None:
    """Do some tasks of a plan."""
    for task in tasks:
        number = plan.head(ChunkPlan).first + task
        stem, entry = write_files(plan.path, number, chunk(number), "clip", "space")
        plan.put_result(task, ChunkResult(entry, stem, [("copy.jpg", "c")]))


@pytest.fixture
def folder(tmp_path: Path) -> EmbeddingFolder:
    """One finished chunk."""
    made = EmbeddingFolder(tmp_path)
    made.write(1, chunk(1), "clip", "space")
    return made


def opened(folder: EmbeddingFolder, made: Plan | None) -> PlanFolder:
    """An open plan."""
    found = open_chunk_plan(folder, lambda: made, lambda _: None)
    assert found
    return found


def numbers(folder: EmbeddingFolder) -> list[int]:
    """The finished chunks, each of which is whole and has its own image."""
    found = [entry.chunk for entry in folder.entries()]
    folder.verify(found)
    assert [folder.rows(number) for number in found] == [[row(number)] for number in found]
    return found


def test_what_is_done_is_taken_up(folder: EmbeddingFolder) -> None:
    """In order; a task that was done twice counts once, and nothing else stays."""
    one = opened(folder, plan(2))
    do(one, 2, 0)
    do(one, 2)
    (one.path / "1-left").touch()
    results = folder.finish(one)

    assert list(results) == [0, 2]
    assert numbers(folder) == [1, 2, 4]
    assert len(list(folder.path.iterdir())) == 3 * 3 + 1
    folder.sweep()
    assert numbers(folder) == [1, 2, 4]


@pytest.mark.parametrize("moved", range(7))
def test_a_run_that_is_killed_while_it_takes_up(
    folder: EmbeddingFolder, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each file that is moved, and before the journal; a sweep meanwhile spares them."""
    one = opened(folder, plan(2))
    do(one, 0, 1)
    left = iter(range(moved))
    replace = Path.replace

    def dies(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dies)
        patched.setattr(chunks, "append_entries", lambda *_: dies(folder.path, folder.path))
        with pytest.raises(KeyboardInterrupt):
            folder.finish(one)
    assert (numbers(folder), folder.next_chunk(), folder.last_chunk()) == ([1], 5, 1)
    folder.sweep()

    again = opened(folder, plan(2))
    assert again.missing() == [2]
    folder.finish(again)
    assert numbers(folder) == [1, 2, 3]


def test_chunks_beside_an_open_plan_do_not_replace_each_other(folder: EmbeddingFolder) -> None:
    """A run may store several pages of the log while the plan of a killed one is open."""
    opened(folder, plan(2))
    for _ in range(2):
        number = folder.next_chunk()
        folder.write(number, chunk(number), "clip", "space")

    assert numbers(folder) == [1, 5, 6]


def test_a_run_that_is_killed_after_the_journal(folder: EmbeddingFolder) -> None:
    """No chunk is twice in it."""
    one = opened(folder, plan(2))
    do(one, 0)
    journal = folder.path / JOURNAL
    result = one.result(0, ChunkResult)
    journal.write_bytes(journal.read_bytes() + msgspec.json.encode(result.entry) + b"\n")
    for path in one.path.glob(f"{result.stem}*"):
        path.rename(folder.path / path.name.replace(result.stem, "chunk-000002"))
    folder.finish(one)

    assert numbers(folder) == [1, 2]


def test_what_another_plan_has_done_is_taken_up_first(folder: EmbeddingFolder) -> None:
    """Of a run that was killed before files changed; then it is planned again."""
    do(opened(folder, plan(2)), 1)
    taken: list[str] = []

    def make() -> Plan:
        return plan(folder.last_chunk() + 1, "space", tasks=2)

    one = open_chunk_plan(
        folder, make, lambda results: taken.extend(path for r in results for path, _ in r.copies)
    )
    assert one
    assert (one.head(ChunkPlan).first, one.missing(), taken) == (4, [0, 1], ["copy.jpg"])
    assert (numbers(folder), folder.plans()[0].path) == ([1, 3], one.path)
    assert open_chunk_plan(folder, lambda: None, lambda _: None) is None
    assert folder.plans() == []


def test_regions_of_a_killed_run_wait_for_their_turn(folder: EmbeddingFolder) -> None:
    """Without new images, their plan stays open, and is gone on with."""
    regions = Plan(ChunkPlan("space grid", 2, "grid", [1]), b"", [b"\x00"])
    one = open_chunk_plan(folder, lambda: regions, lambda _: None, of_regions=True)
    assert one
    assert open_chunk_plan(folder, lambda: None, lambda _: None) is None
    assert one.is_open
    assert opened(folder, plan(2)).is_open
    assert not one.is_open
