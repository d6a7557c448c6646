"""How the supervisor ends: gently, and saying so, as that takes a while; told twice, at once."""

import os
import signal
import subprocess
from pathlib import Path

TEXT = """
  stopping: the public server first, then what is behind it, each once it has answered what it
  was asked; this takes some seconds. Ctrl-C again: at once.

"""


class Stopping:
    """What to do when told to stop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """`process` is supervisord."""
        self._process = process
        self._is_told = False

    def __call__(self) -> None:
        """Tell supervisord; the second time interrupt the services, which then end at once."""
        if self._is_told:
            for child in _children(self._process.pid):
                os.kill(child, signal.SIGINT)
            return
        self._is_told = True
        os.write(1, TEXT.encode())  # print may be under way in the thread that was interrupted
        self._process.terminate()


def _children(process: int) -> list[int]:
    """The processes that a process started, where the system tells."""
    try:
        return [
            int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except OSError:
        return []
