"""Every input that is kept, to each fuzz target: only our documented errors, no memory."""

import os
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS
from tests.memory import small_memory

KEPT = sorted(CORPUS.glob("*/*"))


@pytest.fixture(scope="module", autouse=True)
def _targets_are_ready() -> None:
    """What a target opens as it is first used is no input's memory."""
    for target in TARGETS.values():
        target.run(target.seeds()[0])


@pytest.mark.parametrize("path", KEPT, ids=[f"{path.parent.name}/{path.name}" for path in KEPT])
def test_what_is_kept_breaks_nothing(path: Path) -> None:
    """What once broke a target, or might, is refused or read, and costs little."""
    with small_memory(os.getpid()):
        TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_of_a_target_is_taken(name: str) -> None:
    """What fuzzing begins with breaks nothing, nor does it cut short or with a byte changed."""
    target = TARGETS[name]
    for seed in target.seeds():
        for data in (seed, seed[: len(seed) // 2], seed[:-1], seed.replace(b"\0", b"\xff")):
            target.run(data)


def test_something_is_kept_for_every_target() -> None:
    """A target without a folder of its name is not looked at by `make test`."""
    assert set(TARGETS) == {path.parent.name for path in KEPT}
