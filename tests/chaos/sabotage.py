"""Breaks our own code on purpose, one way after the other: each must turn a test red."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from common.process import run
from devtools.services import CHECKOUT


class Sabotage(NamedTuple):
    """What is broken, where, and the test that must notice."""

    name: str
    file: str
    right: str
    wrong: str
    test: str


SABOTAGES = (
    Sabotage(
        "skip a checksum",
        "search/manifest.py",
        "if sha256_of(path) != file.sha256:",
        "if not sha256_of(path):",
        "tests/search/test_damage.py::test_every_flipped_bit_is_refused",
    ),
    Sabotage(
        "drop the deadline",
        "common/gather.py",
        "left_s = max(0.0, self.deadline - time.monotonic())",
        "left_s = 30.0",
        "tests/unit/common/test_gather.py::test_waiting_ends_at_the_deadline",
    ),
    Sabotage(
        "cache a degraded answer",
        "middle/result_key.py",
        "is_whole = not result.answer.coverage.degraded",
        "is_whole = True",
        "tests/unit/middle/test_pipeline.py"
        "::test_what_is_not_whole_or_not_of_what_is_known_is_not_kept[degraded]",
    ),
    Sabotage(
        "compare keys with ==",
        "common/keys.py",
        "if hmac.compare_digest(key.sha256.encode(), digest.encode()):",
        "if key.sha256 == digest:",
        "tests/test_dangerous_calls.py::test_secrets_are_compared_in_constant_time",
    ),
    Sabotage(
        "forget a release on error",
        "common/server/admission.py",
        "        except BaseException:\n            self._leave(number)\n",
        "        except BaseException:\n",
        "tests/common/test_admission.py::test_a_place_is_free_again_after_a_failure",
    ),
)


def is_noticed(sabotage: Sabotage, folder: Path) -> bool:
    """Whether the test fails with the sabotage, and passes without it; `folder` is empty."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in names.stdout.splitlines():
        if (CHECKOUT / name).is_file():  # else it was deleted, and git does not know yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    test = [sys.executable, "-m", "pytest", "-x", sabotage.test]
    before = subprocess.run(test, cwd=folder, capture_output=True, check=False)
    path = folder / sabotage.file
    text = path.read_text()
    assert text.count(sabotage.right) == 1, f"{sabotage.file} has changed: {sabotage.right}"
    path.write_text(text.replace(sabotage.right, sabotage.wrong))
    after = subprocess.run(test, cwd=folder, capture_output=True, check=False)
    assert before.returncode == 0, before.stdout.decode()
    return after.returncode == 1


def main() -> None:
    """Try each; the exit status is 1 when one went unnoticed."""
    unnoticed = 0
    for sabotage in SABOTAGES:
        with tempfile.TemporaryDirectory(prefix="clip-search-sabotage-") as folder:
            noticed = is_noticed(sabotage, Path(folder))
        unnoticed += not noticed
        print(f"{sabotage.name}: {'red' if noticed else 'UNNOTICED'}, {sabotage.test}", flush=True)
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    run(main)
