"""The end of a process with its parent, also if the parent is killed.

A pipe shows it: the parent holds one end open as long as it lives, and the child waits for its end.
This works on every system and for every server. PR_SET_PDEATHSIG is of Linux alone, and each parent
would have to ask for it between fork and exec.

supervisor -> supervisord -> service: the pipe is the standard input of the next.
gunicorn's or granian's parent -> worker: it is made before the fork.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

STANDARD_INPUT = 0
ORPHAN_S = 2.0
"""The time for requests under way in a worker whose parent was killed: the default deadline. The
port is taken until then."""


def end_with_parent() -> None:
    """Have SIGTERM end this process when its standard input ends: nobody writes to it."""
    at_end_of(STANDARD_INPUT, lambda: os.kill(os.getpid(), signal.SIGTERM))


def at_end_of(pipe: int, end: Callable[[], None]) -> None:
    """Call `end`, in a thread, when nobody holds the other end of `pipe` open any more."""

    def wait() -> None:
        while os.read(pipe, 1024):
            pass
        end()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def end_orphan() -> None:
    """End a worker whose parent was killed: it answers what it has, for ORPHAN_S at most."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_S)
    os._exit(1)
