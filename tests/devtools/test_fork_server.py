"""Commands that are forked do what they do as they are started."""

from pathlib import Path

import pytest

from devtools.fork_server import run_forked
from devtools.services import run_command

SCRIPT = """
import os, sys
print(__name__, sys.argv, sys.path[0], os.getcwd(), os.environ["WORD"], sys.stdin.read())
print("wrong", file=sys.stderr)
sys.exit(7)
"""


def test_a_script_is_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its name, words, path, folder, environment and input; what it says comes back."""
    (tmp_path / "script.py").write_text(SCRIPT)
    for word in ("one", "two"):
        monkeypatch.setenv("WORD", word)
        given = str(tmp_path / "script.py"), {"of": word}, "more"

        forked, started = (run(*given, cwd=tmp_path) for run in (run_forked, run_command))

        assert (started.stdout, started.stderr) == (forked.stdout, forked.stderr)
        assert started.returncode == forked.returncode == 7
        assert word in forked.stdout


@pytest.mark.parametrize("words", [("list",), ("--none",), ("status", "path")])
def test_prepare_is_forked(tmp_path: Path, words: tuple[str, ...]) -> None:
    """With all that it imports; it prints and ends as ever."""
    config = {"Prepare": {"images": ["images"]}}

    forked, started = (
        run("prepare/prepare.py", config, *words, cwd=tmp_path) for run in (run_forked, run_command)
    )

    assert (started.stdout, started.stderr) == (forked.stdout, forked.stderr)
    assert started.returncode == forked.returncode


def test_a_failure_is_told(tmp_path: Path) -> None:
    """With its traceback, and status 1."""
    (tmp_path / "script.py").write_text("raise ValueError('told')")

    done = run_forked(str(tmp_path / "script.py"), {}, cwd=tmp_path)

    assert done.returncode == 1
    assert "ValueError: told" in done.stderr
