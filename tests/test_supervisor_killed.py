"""Services whose supervisor is killed end, and the next start works (kind J, row 28)."""

import json
import os
import signal
from pathlib import Path

import pytest

from devtools.services import children, run_command
from tests.test_supervisor import answers, services_of, supervising, until
from tests.test_supervisor import config_file as config_file


def is_ready(lines: list[str]) -> bool:
    return any("ready: http" in line for line in lines)


def is_gone(process: int) -> bool:
    """Whether a process has ended; nobody may have asked for its status yet."""
    try:
        return not Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return True


@pytest.mark.parametrize("killed", ["supervisor", "supervisord"])
def test_services_end_with_what_started_them(config_file: Path, killed: str) -> None:
    """SIGKILL of the command itself, or of supervisord below it."""
    with supervising(config_file) as (process, lines):
        until(lambda: is_ready(lines), f"not ready: {lines}")
        (supervisord,) = children(process.pid)
        os.kill(process.pid if killed == "supervisor" else supervisord, signal.SIGKILL)
        until(lambda: services_of(config_file) == {}, "services stay")
        until(lambda: is_gone(supervisord), "supervisord stays")
        process.wait(10)
    with supervising(config_file) as (_, lines):
        until(lambda: is_ready(lines), f"not ready: {lines}")
        assert answers(config_file, 2)


def test_a_service_comes_back_when_its_parent_process_was_killed(config_file: Path) -> None:
    """Its worker ends with it, and makes room for the next."""
    with supervising(config_file) as (_, lines):
        until(lambda: is_ready(lines), f"not ready: {lines}")
        workers = services_of(config_file)["middle"]
        parent = int(Path(f"/proc/{workers}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        until(lambda: is_gone(workers), "the worker stays")
        until(lambda: answers(config_file, 2), "it does not answer again")


def test_a_second_start_says_who_is_there(config_file: Path) -> None:
    """By the process that listens, with what to do."""
    with supervising(config_file) as (_, lines):
        until(lambda: is_ready(lines), f"not ready: {lines}")
        services = services_of(config_file)
        config = json.loads(config_file.read_bytes())
        done = run_command("common/supervisor.py", config, cwd=config_file.parent)

    assert 2 == done.returncode
    assert f"Process {services['inference']} listens there" in done.stderr
    assert f"kill {services['inference']} stops it" in done.stderr
    assert "front/front.py" in done.stderr
