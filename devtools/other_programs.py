"""Programs of other projects: their environments and their servers."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import urllib3
from filelock import FileLock

from common.errors import MissingPackage
from devtools.services import http

INSTALL_S = 1800
START_S = 600
STOP_S = 20
ASK_S = 30


class Environment(NamedTuple):
    """A Python environment with packages from PyPI."""

    name: str
    packages: Sequence[str]

    def bin(self, root: Path) -> Path:
        """The folder of the programs, installed once in `root`; raises MissingPackage."""
        folder = root / self.name
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # tests that run side by side may want it at once
            if not self.is_in(root):
                print(f"installing {self.name} in {folder} (once)", flush=True)
                shutil.rmtree(folder, ignore_errors=True)  # what was killed half-way
                self._uv("venv", str(folder))
                self._uv("pip", "install", "--python", str(folder / "bin/python"), *self.packages)
                self._mark(root).write_text("\n".join(self.packages))
        return folder / "bin"

    def is_in(self, root: Path) -> bool:
        """Whether it is installed in `root`, with these packages."""
        mark = self._mark(root)
        return mark.is_file() and mark.read_text() == "\n".join(self.packages)

    def _mark(self, root: Path) -> Path:
        """The file that is written last: without it the installation is not complete."""
        return root / self.name / "installed"

    def _uv(self, *arguments: str) -> None:
        if not importlib.util.find_spec("uv"):
            raise MissingPackage(f"{self.name}: there is no uv: pip install uv")
        done = subprocess.run(
            [sys.executable, "-m", "uv", *arguments, "--quiet"],
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        if done.returncode:
            raise MissingPackage(f"{self.name} cannot be installed: {done.stderr.strip()}")


class Command(NamedTuple):
    """The command of a server; `folder` is its home and gets a file `output`."""

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = {}


@contextmanager
def serving(command: Command, url: str, message: Any) -> Iterator[None]:
    """Run a server until the block ends; the block begins when `url` answers `message`.

    Raises RuntimeError with the end of the output if the server ends before, or takes too long.
    """
    output = command.folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=command.folder,
            env={**os.environ, "HOME": str(command.folder), **command.environment},
            start_new_session=True,  # its descendants can be ended together
        )
    try:
        _wait(process, url, message, output)
        yield
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, message: Any, output: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ask(url, message).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"{url} does not answer: {output.read_text()[-2000:]}")


def ask(url: str, message: Any) -> urllib3.BaseHTTPResponse:
    """POST JSON; slow servers have ASK_S."""
    return http.request("POST", url, json=message, timeout=ASK_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, then SIGKILL, to the process and its descendants."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
