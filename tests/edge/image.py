"""The file system of the image, made without docker from what the Dockerfile copies and links."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pathspec

from devtools.processes import start, stop
from devtools.services import CHECKOUT

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
APP = DOCKERFILE[DOCKERFILE.index(" AS app\n") : DOCKERFILE.index(" AS torchserve\n")]
"""The stage that has our code."""
USER = 12345
READY_S = 60
SHOW_PYTHON = """
mount --bind "$1" "$2"
mount -t tmpfs -o mode=755 none "$3"
mkdir -p "$1"
mount --bind "$2" "$1"
shift 3
exec "$@"
"""
"""Lets every user run a Python that is in the home of root, for this command alone."""


def build_context() -> Iterator[str]:
    """The files that docker is sent: those of the checkout, but for .dockerignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    # docker's patterns start at the root
    ignored = pathspec.GitIgnoreSpec.from_lines(f"/{line}" for line in lines if line[0] != "#")
    for name in filter(None, listed.stdout.split("\0")):
        if not ignored.match_file(name) and (CHECKOUT / name).is_file():
            yield name


class Image:
    """The image below a folder, with the environment of the tests in place of /venv."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.srv = root / "srv"
        for name in ("srv/data", "tmp", "home", "python"):
            (root / name).mkdir(parents=True)
        files = list(build_context())
        for source, target in re.findall(r"^COPY (?!--)(\S+) /(\S+)$", APP, re.MULTILINE):
            for file in files:
                if source in (".", file) or file.startswith(f"{source}/"):
                    self._copy(
                        file, root / target / ("" if source == file else _below(file, source))
                    )
        for target, link in re.findall(r"ln -sf? (\S+) (\S+)", APP):
            path = Path(self.here(link))
            path.unlink(missing_ok=True)
            path.symlink_to(self.here(target))
        self._user = self._other_user()
        (line,) = re.findall("^ENV (.*)$", APP, re.MULTILINE)
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
        }
        for name, value in (word.split("=") for word in line.split()):
            given[name] = self.here(value).replace("$PATH", given["PATH"])
        self._environment = given
        (words,) = re.findall(r"^ENTRYPOINT (.*)$", APP, re.MULTILINE)
        tini, dashes, entrypoint = json.loads(words)
        assert (tini, dashes) == ("tini", "--")
        self._entrypoint = self.here(entrypoint)

    def here(self, text: str) -> str:
        """Paths of the image as paths of this machine."""
        return re.sub("^/(app|srv)", rf"{self.root}/\1", text).replace("/venv", sys.prefix)

    def _copy(self, file: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / file, target)

    def _other_user(self) -> list[str]:
        """What runs a command as another user, who owns /srv; nothing where that cannot be."""
        change = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        if (home := Path.home()) in Path(sys.base_prefix).parents:
            folders = (sys.base_prefix, str(self.root / "python"), str(home))
            change = ["unshare", "--mount", "sh", "-ec", SHOW_PYTHON, "sh", *folders, *change]
        probe = [*change, sys.executable, "-c", ""]
        if os.geteuid() or subprocess.run(probe, capture_output=True, check=False).returncode:
            return []
        for folder in ("srv", "srv/data", "tmp", "home"):
            os.chown(self.root / folder, USER, USER)
        return change

    def start(self, *arguments: str, text: str = "") -> subprocess.Popen[str]:
        """docker run -i IMAGE ARGUMENTS, with `text` as standard input."""
        words = [*self._user, self._entrypoint, *arguments]
        return start(words, text, self.srv, self._environment, new_session=True)

    def run(self, *arguments: str, text: str = "") -> tuple[int, str]:
        """The exit status of a container that ends by itself, and what it printed."""
        with self.start(*arguments, text=text) as process:
            assert process.stdout is not None
            printed = process.stdout.read()
        return process.returncode, printed

    @contextmanager
    def serving(self, *arguments: str, text: str = "") -> Iterator[list[str]]:
        """A container that is ready; yields its output. It ends with 0 when docker stops it."""
        with self.start(*arguments, text=text) as process:
            lines: list[str] = []
            assert process.stdout is not None
            reader = threading.Thread(target=lines.extend, args=(process.stdout,))
            reader.start()
            try:
                deadline = time.monotonic() + READY_S
                while not any(line.startswith("  ready: ") for line in lines):
                    assert process.poll() is None, "".join(lines)
                    assert time.monotonic() < deadline, "".join(lines)
                    time.sleep(0.1)
                assert not self._user or USER == Path(f"/proc/{process.pid}").stat().st_uid
                yield lines
            finally:
                status = stop(process)
                with suppress(ProcessLookupError):  # what is left ends with its container
                    os.killpg(process.pid, signal.SIGKILL)
                reader.join()
            assert status == 0, "".join(lines)


def _below(file: str, folder: str) -> str:
    return file if folder == "." else file.removeprefix(f"{folder}/")
