"""How much memory processes hold, as Linux tells it in /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pids: Iterable[int]) -> int:
    """The sum of the resident sets of processes and of all that they started.

    Pages that processes share count once for each of them.
    """
    total = 0
    for pid in pids:
        process = Path("/proc", str(pid))
        total += PAGE_BYTES * int((process / "statm").read_text().split()[1])
        for started in process.glob("task/*/children"):
            total += resident_bytes(map(int, started.read_text().split()))
    return total
