"""Processes with their descendants and their CPU time, read from /proc of Linux."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def process_tree(pids: Iterable[int]) -> Iterator[int]:
    """Each process, followed by its descendants."""
    for pid in pids:
        yield pid
        for started in Path(f"/proc/{pid}").glob("task/*/children"):
            yield from process_tree(map(int, started.read_text().split()))


def cpu_seconds(pids: Iterable[int]) -> float:
    """The CPU time of processes and their descendants so far, user and system.

    Ended children count if their parent waited for them.
    """
    ticks = 0
    for pid in process_tree(pids):
        # utime, stime, cutime, cstime: fields 14 to 17 of proc(5)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S
