"""A fresh checkout to run the commands of a page in, as its reader would."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.config import CHECKOUT
from devtools.ports import free_ports
from tests.docs.shell import Shell

PORTS = (8000, 8001, 8003, 8080, 8083, 8088, 9000, 9001, 9002, 9003, 6379, 51000, 51001)
"""Those that pages name. A test uses free ones in their place."""
WITH_PORTS = ("config.json", "edge/nginx.conf", "benchmarks/client.json")
QUICK = ("-c", "core.looseCompression=0", "-c", "core.fsync=none")
START_S = 60
STOP_S = 20
PATIENCE_S = 0.5
"""The first Ctrl-C ends all in order, which takes seconds; the second one at once."""
CURL = "silent\nshow-error\nfail-with-body\n"
"""So that an error is one for the shell, too."""


def write_origin(folder: Path) -> "Origin":
    """A repository of this working tree in `folder`, with ports of our own."""
    ports = zip(PORTS, free_ports(len(PORTS)), strict=True)
    origin = Origin(folder, {str(named): str(ours) for named, ours in ports})
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    for name in WITH_PORTS:
        (folder / name).write_text(origin.here((folder / name).read_text()))
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        git(folder, *author, *QUICK, *words)
    return origin


def git(folder: Path, *words: str) -> None:
    """Run git without the settings of whoever runs the test."""
    settings = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", *words], cwd=folder, check=True, env={**os.environ, **settings})


class Origin:
    """What readers clone."""

    def __init__(self, folder: Path, ports: dict[str, str]) -> None:
        self.folder = folder
        self._ports = ports

    def here(self, text: str) -> str:
        """A text of a page with the ports of this test, and three machines in one."""
        number = re.compile(rf"\b({'|'.join(self._ports)})\b")
        return number.sub(lambda match: self._ports[match[1]], text).replace("10.0.0.", "127.0.0.")


class Checkout:
    """A clone with an environment, a shell in it, and what was started and keeps running."""

    def __init__(self, origin: Origin, folder: Path) -> None:
        self.here = origin.here
        self._root = folder / "clip-search"
        self._log = folder / "log"
        self._started: list[subprocess.Popen[bytes]] = []
        git(folder, "clone", "--quiet", str(origin.folder), str(self._root))
        self._shipped = (self._root / "config.json").read_bytes()
        self._link_environment()
        home = folder / "home"
        self._write_home(home)
        environment = {
            "PATH": f"{self._root}/.venv/bin:{os.environ['PATH']}:/usr/sbin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",
            "no_proxy": "*",
        }
        self._how: dict[str, Any] = {"cwd": self._root, "env": environment}
        self._shell = Shell(folder / "fence.sh", **self._how)

    def _link_environment(self) -> None:
        """The environment of this test, which make takes for installed: nothing is downloaded."""
        environment = self._root / ".venv"
        environment.mkdir()
        for path in Path(sys.prefix).iterdir():
            if not path.name.startswith(".installed"):
                (environment / path.name).symlink_to(path)
        for name in (".installed", ".installed-dev"):
            (environment / name).touch()

    def _write_home(self, home: Path) -> None:
        """A reader's home with some photos."""
        (home / "Pictures").mkdir(parents=True)
        for name in ("owl", "koala", "cat-chelsea", "kitten-with-yarn"):
            shutil.copy(self._root / f"samples/{name}.jpg", home / "Pictures")
        (home / ".curlrc").write_text(CURL)

    def run(self, text: str) -> str:
        """Run commands to their end; returns what they print. Fails with the first that fails."""
        try:
            return self._shell.run(text)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._printed()}") from None

    def start(self, text: str, address: str) -> None:
        """Start what keeps running, and wait until its address answers."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal of its own: Ctrl-C is for all in it
                **self._how,
            )
        self._started.append(process)
        deadline = time.monotonic() + START_S
        while not answers(address):
            waits = process.poll() is None and time.monotonic() < deadline
            assert waits, f"{text}\n{address} does not answer:\n{self._printed()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """Ctrl-C for all that was started, the last first, and again: nothing of it may stay."""
        for process in reversed(self._started):
            for patience_s in (PATIENCE_S, STOP_S):
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, signal.SIGINT)
                    process.wait(patience_s)
        self._started.clear()
        left = list(self._processes())
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"does not end:\n{self._printed()}"

    def _processes(self) -> Iterator[int]:
        """The processes that run in the checkout, but for the shell."""
        for entry in Path("/proc").iterdir():
            try:
                place = (entry / "cwd").readlink()
            except OSError:
                continue
            is_shell = entry.name == str(self._shell.pid)
            if entry.name.isdecimal() and place.is_relative_to(self._root) and not is_shell:
                yield int(entry.name)

    def close(self) -> None:
        """Stop everything, the shell too."""
        try:
            self.stop()
        finally:
            self._shell.close()

    def ship_config(self) -> None:
        """Take the config.json that ships again; what runs is stopped."""
        self.stop()
        (self._root / "config.json").write_bytes(self._shipped)

    def set_config(self, changes: dict[str, dict[str, Any]]) -> None:
        """Write settings into config.json; what runs is stopped, as it has read its own."""
        self.stop()
        file = self._root / "config.json"
        config = json.loads(file.read_bytes())
        for section, keys in changes.items():
            config[section] = {**config.get(section, {}), **keys}
        file.write_text(json.dumps(config))

    def _printed(self) -> str:
        """The end of what was printed by what keeps running."""
        return "".join(self._log.read_text().splitlines(True)[-40:]) if self._log.exists() else ""


def answers(address: str) -> bool:
    """Whether a URL is answered with 200, or a host:port takes connections."""
    if "://" in address:
        command = ["curl", "--insecure", "--silent", "--fail", "--noproxy", "*", address]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True
