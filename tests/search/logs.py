"""Logs of the live index, and a process that appends to one."""

import subprocess
import sys
from pathlib import Path

from devtools.services import CHECKOUT
from search.log import Entry, Log, open_log

WRITER = """
import sys
from pathlib import Path
from search.log import Entry, open_log
log = open_log(sys.argv[1], Path("/"))
while True:
    print(log.append([Entry("delete", b"k" * 16)] * 3), flush=True)
"""


def opened(place: str) -> Log:
    """The log at a place, as config.json names it."""
    log = open_log(place, Path("/"))
    assert log is not None
    return log


def entries(count: int, first: int = 1) -> list[Entry]:
    """Deletes of the images with the numbers from `first` on."""
    return [Entry("delete", b"%016d" % number) for number in range(first, first + count)]


def acknowledged(place: str, server: subprocess.Popen[bytes] | None = None) -> int:
    """The last position that a writer told before SIGKILL ended it, or the log's server.

    It has appended at least 20 times, 3 entries each time.
    """
    command = [sys.executable, "-c", WRITER, place]
    writer = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert writer.stdout
    lines = [writer.stdout.readline() for _ in range(20)]
    (server or writer).kill()
    lines += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    return int([line for line in lines if line.endswith("\n")][-1])
