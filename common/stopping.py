"""The stop of the supervisor: the first signal drains the services, a second ends them at once."""

import os
import signal
import subprocess
from pathlib import Path

TEXT = """
  stopping: the public server first, then what is behind it, each once it has answered what it
  was asked; this takes some seconds. Ctrl-C again: at once.

"""


class Stopping:
    """Handles the signals that stop the supervisor."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """`process` is supervisord."""
        self._process = process
        self._is_told = False

    def __call__(self) -> None:
        """Terminate supervisord; the second call interrupts the services, which end at once."""
        if self._is_told:
            for child in _children(self._process.pid):
                os.kill(child, signal.SIGINT)
            return
        self._is_told = True
        os.write(1, TEXT.encode())  # the signal may have interrupted a print
        self._process.terminate()


def _children(process: int) -> list[int]:
    """The child processes of a process; empty where the system does not tell."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in children.split()]
