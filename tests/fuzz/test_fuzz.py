"""Each fuzz target for some seconds: only our documented errors, no hang, no memory."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.services import CHECKOUT

START_S = 60


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_of_a_target_is_taken(name: str) -> None:
    """What fuzzing begins with breaks nothing, nor does it cut short or with a byte changed."""
    target = TARGETS[name]
    for seed in target.seeds():
        for data in (seed, seed[: len(seed) // 2], seed[:-1], seed.replace(b"\0", b"\xff")):
            target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_nothing(name: str, seconds: int, tmp_path: Path) -> None:
    """Inputs that reach ever more of the code raise nothing but our own errors, and soon."""
    if importlib.util.find_spec("atheris") is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("atheris is not installed (requirements-dev.txt, for Linux on x86-64)")
    command = [sys.executable, "-m", "tests.fuzz.fuzz", name, str(seconds), str(tmp_path)]

    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=START_S + 2 * seconds
    )

    broke = {path.name: path.read_bytes() for path in tmp_path.glob("broke-*")}
    assert (0, {}) == (done.returncode, broke), done.stderr[-3000:]
