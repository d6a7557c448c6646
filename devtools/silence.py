"""Silence: the longest time in which one thread lets no other thread of its process run."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from search.manifest import Folders, manifest_in_use
from search.version import load_version

TICK_S = 0.001


@contextmanager
def ticking() -> Iterator[list[float]]:
    """The times of the ticks during the block, in seconds; the last one is its end.

    Whoever holds Python's lock (the GIL) stops the ticks. A busy machine delays some, too.
    """
    times: list[float] = []
    begun, ended = threading.Event(), threading.Event()

    def tick() -> None:
        while True:
            times.append(time.perf_counter())
            begun.set()
            if ended.wait(TICK_S):
                return

    thread = threading.Thread(target=tick, name="ticking")
    thread.start()
    begun.wait()
    try:
        yield times
    finally:
        ended.set()
        thread.join()
        times.append(time.perf_counter())


def longest_gap_s(times: Sequence[float]) -> float:
    """The longest time between two ticks, in seconds."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def silence_of_load(folders: Folders) -> tuple[float, float]:
    """The silence of a search server while it loads all shards of the version in use.

    In seconds, and in seconds for each GB of the largest index file. Raises BadIndex.
    """
    manifest = manifest_in_use(folders)
    with ticking() as times:
        load_version(folders, manifest.named, range)
    silence_s = longest_gap_s(times)
    return silence_s, silence_s * 1e9 / max(files.index.size_bytes for files in manifest.segments)
