"""Processes that take the CPU in bursts, as other users of a shared machine do."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

BURST_S = 3.0


@contextmanager
def thieves() -> Iterator[None]:
    """While this runs, a process for each core computes for 3 s, sleeps for 3 s, and so on."""
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            thief = stack.enter_context(subprocess.Popen([sys.executable, __file__]))
            stack.callback(thief.kill)
        yield


def main() -> None:
    """Take one core until killed."""
    while True:
        deadline = time.monotonic() + BURST_S
        while time.monotonic() < deadline:
            pass
        time.sleep(BURST_S)


if __name__ == "__main__":
    main()
