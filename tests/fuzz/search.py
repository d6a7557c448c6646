"""Each fuzz target for some seconds: only our documented errors, no hang, no memory.

`make fuzz` runs it, and `make test` does not: luck decides what is found. What breaks a target is
written into its folder of the corpus; commit it with what puts it right.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.services import CHECKOUT
from tests.fuzz.targets import CORPUS, TARGETS

START_S = 60


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_nothing(name: str, seconds: int | None, tmp_path: Path) -> None:
    """Inputs that reach ever more of the code raise nothing but our own errors, and soon."""
    if importlib.util.find_spec("atheris") is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("atheris is not installed (requirements-dev.txt, for Linux on x86-64)")
    assert seconds, "for how long? --seconds"
    kept = set((CORPUS / name).iterdir())
    command = [sys.executable, "-m", "tests.fuzz.fuzz", name, str(seconds), str(tmp_path)]

    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=START_S + 2 * seconds
    )

    found = sorted(set((CORPUS / name).iterdir()) - kept)
    assert (0, []) == (done.returncode, found), done.stderr[-3000:]
