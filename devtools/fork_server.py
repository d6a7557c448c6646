"""Commands and services of ours, each forked from a process that has imported libraries for it.

The import takes most of the time of a command on a small collection, and of the start of a service.
What is forked is a process of its own: it has the script as its main program, and ends as any.

test -> server, which has imported libraries -> command or service
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

CHECKOUT = Path(__file__).resolve().parent.parent

PREPARE = ("prepare.prepare",)
SERVICES = (
    "aiohttp",
    "brotli",
    "cachetools",
    "flask",
    "ftfy",
    "gunicorn.app.base",
    "gunicorn.workers.gthread",
    "hnswlib",
    "pebble",
    "PIL.Image",
    "pillow_heif",
    "simplemma",
    "tokenizers",
    "urllib3",
    "waitress",
)
"""Only libraries, as a service must itself import what is ours. prometheus_client is not among
them: its import reads a variable that the service sets."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
"""Of the servers: as it is before a test changes it."""
READ_AT_START = ("LD_PRELOAD", "PYTHONPATH")
"""Variables that come too late for a forked process."""
NUMBER = struct.Struct("i")
STREAMS = 3
RUN_S = 600
"""The longest run of a command."""


class Forked:
    """A process that was forked, with what is used of subprocess.Popen."""

    def __init__(self, words: list[str], pid: int, line: socket.socket, stdout: IO[str]) -> None:
        """`line` gives the exit status, at its end."""
        self.args = words
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._line = line
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; raises subprocess.TimeoutExpired after `timeout` seconds."""
        with self._lock:
            if self.returncode is None:
                self._line.settimeout(timeout)
                try:
                    self.returncode = _receive_number(self._line)
                except (BlockingIOError, TimeoutError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
                self._line.close()
            return self.returncode

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def may_be_forked(environment: Mapping[str, str]) -> bool:
    """Whether a forked process has what the variables of its environment ask for."""
    return all(environment.get(name) == ENVIRONMENT.get(name) for name in READ_AT_START)


def run_forked(
    script: str, config: dict[str, Any], *arguments: str, cwd: Path = CHECKOUT
) -> subprocess.CompletedProcess[str]:
    """As `services.run_command`; variables that are READ_AT_START are not heeded."""
    words = [str(CHECKOUT / script), "--config", "-", *arguments]
    with TemporaryFile("w+") as told, TemporaryFile("w+") as errors:
        line = _fork(PREPARE, words, json.dumps(config), cwd, dict(os.environ), told, errors)
        status = Forked(words, _receive_number(line), line, told).wait(RUN_S)
        for file in (told, errors):
            file.seek(0)
        return subprocess.CompletedProcess(words, status, told.read(), errors.read())


def start_forked(words: list[str], text: str, cwd: Path, environment: dict[str, str]) -> Forked:
    """Start a script with the libraries of services; `text` is its standard input."""
    readable, writable = os.pipe()
    with os.fdopen(writable, "w") as output:
        line = _fork(SERVICES, words, text, cwd, environment, output, output)
    return Forked(words, _receive_number(line), line, os.fdopen(readable))


def _fork(
    modules: tuple[str, ...],
    words: list[str],
    text: str,
    cwd: Path,
    environment: dict[str, str],
    *outputs: IO[str],
) -> socket.socket:
    """Have a command forked; `outputs` are its standard output and its errors."""
    ours, theirs = socket.socketpair()
    with TemporaryFile("w+") as given, theirs:
        given.write(text)
        given.seek(0)
        streams = [theirs.fileno(), *(file.fileno() for file in (given, *outputs))]
        socket.send_fds(_server(modules), [b"."], streams)
    command = {"words": words, "cwd": str(cwd), "environment": environment}
    ours.sendall(json.dumps(command).encode() + b"\n")
    return ours


@cache
def _server(modules: tuple[str, ...]) -> socket.socket:
    """The socket of a process that forks; the process ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "devtools.fork_server", str(theirs.fileno()), *modules],
            cwd=CHECKOUT,
            env=ENVIRONMENT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(server.wait)
    atexit.register(ours.close)  # before the wait
    return ours


def _receive_number(line: socket.socket) -> int:
    (number,) = NUMBER.unpack(line.recv(NUMBER.size))
    return int(number)


class Server:
    """Forks for each message on `requests`, and tells the end of what it forked."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._woken, self._wake = socket.socketpair()
        self._lines: dict[int, socket.socket] = {}
        """By id, who asks for the end of a process."""

    def serve(self) -> None:
        """Return when there are no more requests, or as the command itself, at its end."""
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the tests
        while True:
            ready, _, _ = select.select([self._requests, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(2**16)
                self._tell_ends()
            if self._requests in ready:
                message, descriptors, _, _ = socket.recv_fds(self._requests, 1, 1 + STREAMS)
                if not message or self._fork(*descriptors):
                    return

    def _tell_ends(self) -> None:
        for pid in list(self._lines):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with self._lines.pop(pid) as line:
                    line.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _fork(self, descriptor: int, *streams: int) -> bool:
        """Whether this is the command, at its end."""
        line = socket.socket(fileno=descriptor)
        with line.makefile() as text:
            command = json.loads(text.readline())
        if not (child := os.fork()):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for each in (self._requests, self._woken, self._wake, line, *self._lines.values()):
                each.close()
            _become(streams, **command)
            return True
        for stream in streams:
            os.close(stream)
        line.sendall(NUMBER.pack(child))
        self._lines[child] = line
        return False


def _become(
    streams: Sequence[int], words: list[str], cwd: str, environment: dict[str, str]
) -> None:
    """Be the command."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    """Serve requests on the socket whose descriptor is the first word; import the other words."""
    for module in sys.argv[2:]:
        import_module(module)
    gc.freeze()  # what is shared by all need not be copied for a look at it
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
