"""A run in three parts, which are killed and run twice: what is made is what one run makes."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prepare.plans import PlanFolder
from tests.prepare.parted import everything, many, opened
from tests.prepare.prepared_folder import Workspace
from tests.prepare.waiting import wait_for

PARTS = 3


@pytest.fixture
def one_core() -> Iterator[None]:
    """Each process builds with one thread: several make the links of an index in any order."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def collection(tmp_path: Path, model: Path) -> Workspace:
    """A collection of many chunks and shards."""
    return many(tmp_path / "collection", model)


def start(workspace: Workspace, part: int) -> subprocess.Popen[str]:
    """Start a part."""
    return workspace.start("--part", f"{part}/{PARTS}")


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a part, which has not ended by itself."""
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


def missing(plan: PlanFolder, part: int) -> set[int]:
    """The tasks of a part that are not done."""
    return {task for task in plan.missing() if task % PARTS == part}


def test_parts_make_what_one_run_makes(collection: Workspace, one_core: None) -> None:
    """One is killed amid its chunks, part 0 while it waits, another amid its shards.

    Each is run again, one of them twice at a time. Chunks, rows, journal, segments and manifest are
    the same byte for byte.
    """
    local = collection.copy(collection.root.with_name("local"))
    local.prepare()

    first, second = start(collection, 0), start(collection, 1)
    plan = opened(collection.embeddings.path, first)
    begun = missing(plan, 1)
    wait_for(lambda: missing(plan, 1) < begun, first)
    kill(second)
    assert missing(plan, 1), "it was killed before its end"
    wait_for(lambda: not missing(plan, 0), first)
    kill(first)
    parts = [start(collection, part) for part in (0, 1, 1)]
    wait_for(lambda: not missing(plan, 1), parts[0])
    last = start(collection, 2)
    version = collection.folders.index / "v000001"
    shards = opened(version, parts[0])
    wait_for(lambda: any(version.glob("shard-002-*")), last)
    kill(last)
    assert 2 in missing(shards, 2), "it was killed before its end"
    parts.append(start(collection, 2))

    told = [part.communicate(timeout=60)[0] for part in parts]
    assert [0] * len(parts) == [part.returncode for part in parts], told
    assert "waiting for part 1/3, part 2/3\n" in told[0]
    assert everything(local) == everything(collection)
    assert local.versions() == collection.versions()


def test_parts_end_together_after_a_run_that_was_killed(collection: Workspace) -> None:
    """Though nothing is left to be done: part 0 waits for the others that live."""
    collection.prepare()
    for number in (1, 2):
        killed = start(collection, number)
        wait_for((collection.embeddings.path / "parts" / f"{number}-3").exists, killed)
        kill(killed)

    first = start(collection, 0)
    assert first.stdout is not None
    assert "waiting for part 1/3, part 2/3\n" in first.stdout
    parts = [first, start(collection, 1), start(collection, 2)]
    told = [part.communicate(timeout=60)[0] for part in parts]
    assert [0] * len(parts) == [part.returncode for part in parts], told


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--part 0/2 status", "status takes neither --part nor --engine ray"),
        (
            "--part 0/2 --engine ray",
            "--part and --engine ray are two ways to share out a run: take one",
        ),
    ],
)
def test_what_has_no_parts_says_so(workspace: Workspace, arguments: str, why: str) -> None:
    """Exit status 2, and nothing is done."""
    done = workspace.run(*arguments.split())

    assert 2 == done.returncode
    assert done.stderr == f"error: {why}\n"
