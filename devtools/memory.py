"""The memory of processes and its growth, read from /proc of Linux."""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from devtools.process_tree import process_tree

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Samples = list[tuple[float, int]]
"""Seconds since the start, and the resident bytes at that moment."""


def resident_bytes(pids: Iterable[int], with_files: bool = True) -> int:
    """The sum of the resident sets of processes and of all their descendants.

    A page that several processes share counts once for each process. `with_files` False leaves out
    pages of files and of shared memory. The system may take most of them back.
    """
    total = 0
    for pid in process_tree(pids):
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
        total += PAGE_BYTES * (int(resident) - (0 if with_files else int(shared)))
    return total


@contextmanager
def watching(pids: Sequence[int], every_s: float = 1.0) -> Iterator[Samples]:
    """Sample the memory of processes and their descendants until the block ends."""
    samples: Samples = []
    ended = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(every_s):
            samples.append((time.monotonic() - began, resident_bytes(pids)))

    thread = threading.Thread(target=watch, name="memory")
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def growth_of(samples: Samples, settled_s: float) -> float:
    """The relative growth of memory from `settled_s` (at most half of the time) to the end.

    Each side is the median of ten samples, so a single batch in flight has no effect.
    """
    from_s = min(settled_s, samples[-1][0] / 2)
    sizes = [size for at_s, size in samples if at_s >= from_s]
    return float(np.median(sizes[-10:]) / np.median(sizes[:10]) - 1)
