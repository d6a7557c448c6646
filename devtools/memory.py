"""The memory of processes, read from /proc of Linux."""

import os
from collections.abc import Iterable
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pids: Iterable[int]) -> int:
    """The sum of the resident sets of processes and of all their descendants.

    A page that several processes share counts once for each process.
    """
    total = 0
    for pid in pids:
        process = Path("/proc", str(pid))
        total += PAGE_BYTES * int((process / "statm").read_text().split()[1])
        for started in process.glob("task/*/children"):
            total += resident_bytes(map(int, started.read_text().split()))
    return total
