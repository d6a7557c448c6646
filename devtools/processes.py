"""The processes of tests: their output, the port that they name, and their end."""

import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

START_S = 60
STOP_S = 20


class Process(Protocol):
    """What is used of a subprocess.Popen."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def stdout(self) -> IO[Any] | None:
        """Its output, if it is read here."""

    def poll(self) -> int | None:
        """The exit status, if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; raises subprocess.TimeoutExpired after `timeout` seconds."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if it has not ended."""

    def kill(self) -> None:
        """Send SIGKILL."""


def start(
    words: list[str],
    text: str,
    cwd: Path,
    environment: dict[str, str],
    *,
    new_session: bool = False,
) -> subprocess.Popen[str]:
    """Start a command; `text` is its standard input."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environment,
        start_new_session=new_session,
    )
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    return process


def stop(process: Process) -> int:
    """Send SIGTERM; returns the exit status."""
    process.send_signal(signal.SIGTERM)
    return wait(process)


def wait(process: Process) -> int:
    """Wait for the exit status; after STOP_S, send SIGKILL and raise TimeoutExpired."""
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@contextmanager
def reading(
    process: Process,
) -> Iterator[tuple[list[str], Callable[[], int]]]:
    """Read the output of a process; yields its lines, and a function that waits for its port."""
    lines: list[str] = []
    ports: queue.Queue[int | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("listening "):
                ports.put(int(line.split()[1]))
        ports.put(None)

    def port() -> int:
        found = ports.get(timeout=START_S)
        assert found is not None, f"ended with {process.wait()}: {''.join(lines)}"
        return found

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield lines, port
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def children(pid: int) -> list[int]:
    """The ids of the child processes of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
