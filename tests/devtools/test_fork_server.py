"""Commands that are forked do what they do as they are started."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from devtools.fork_server import CHECKOUT, run_forked, start_forked
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


SLEEPS = """
import sys, time
print(sys.stdin.read(), flush=True)
time.sleep(600)
"""


def test_a_process_has_its_own_life(tmp_path: Path) -> None:
    """It is waited for and sent signals as a subprocess.Popen, beside another."""
    (tmp_path / "script.py").write_text(SLEEPS)
    started = [
        start_forked([str(tmp_path / "script.py")], f"{number}", tmp_path, dict(os.environ))
        for number in range(2)
    ]
    for number, process in enumerate(started):
        with process.stdout:
            assert f"{number}\n" == process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
    for process, way in zip(started, (signal.SIGTERM, signal.SIGKILL), strict=True):
        assert process.poll() is None
        process.send_signal(way)
        assert -way == process.wait(20) == process.poll()
        process.kill()  # of nobody


def test_a_service_imports_what_is_ours(tmp_path: Path) -> None:
    """A package that lacks a part shows it in a forked service, too."""
    (tmp_path / "script.py").write_text("import sys; print(*sys.modules)")
    process = start_forked([str(tmp_path / "script.py")], "", tmp_path, dict(os.environ))
    with process.stdout:
        imported = {name.partition(".")[0] for name in process.stdout.read().split()}
    assert 0 == process.wait(20)
    ours = {path.name for path in CHECKOUT.iterdir() if path.is_dir()} - {"devtools"}
    assert {"flask", "aiohttp"} <= imported
    assert not imported & {*ours, "prometheus_client"}
