"""Commands of ours, each forked from a process that has imported what prepare imports.

The import takes most of the time of a command on a small collection. A forked command is a process
of its own: it has the script as its main program, and ends as any.
"""

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from devtools.services import CHECKOUT

_lock = threading.Lock()


def run_forked(
    script: str, config: dict[str, Any], *arguments: str, cwd: Path = CHECKOUT
) -> subprocess.CompletedProcess[str]:
    """As `services.run_command`, one command at a time; PYTHONPATH comes too late for it."""
    words = [str(CHECKOUT / script), "--config", "-", *arguments]
    with tempfile.TemporaryDirectory() as name:
        given, told, errors = streams = [Path(name) / kind for kind in ("in", "out", "err")]
        given.write_text(json.dumps(config))
        command = {"words": words, "cwd": str(cwd), "environment": dict(os.environ)}
        with _lock:
            server = _server()
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps({**command, "streams": list(map(str, streams))}) + "\n")
            server.stdin.flush()
            status = int(server.stdout.readline())
        return subprocess.CompletedProcess(words, status, told.read_text(), errors.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one."""
    server = subprocess.Popen(
        [sys.executable, "-m", "devtools.fork_server"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def main() -> None:
    """Fork for each line of standard input, and answer with the exit status."""
    import_module("prepare.prepare")
    gc.freeze()  # what is shared by all need not be copied for a look at it
    for line in sys.stdin:
        if not (child := os.fork()):
            _become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(words: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    """Be the command."""
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
