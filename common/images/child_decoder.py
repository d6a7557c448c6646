"""Decoding in child processes, which a file may crash or exhaust: only that file then fails.

Nothing in the headers of HEIC, AVIF, TIFF, JPEG 2000 or RAW bounds the work of their decoders.
Other large images come here so that who embeds texts meanwhile has the cores.
"""

import math
import multiprocessing
import os
import resource
import threading
from concurrent.futures import TimeoutError as TooLate
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pebble import ProcessExpired, ProcessPool
from PIL import Image

from common.cores import usable_cores
from common.errors import TooLarge, Unprocessable
from common.images.thread_decoder import decode_here

CPU_S = 5.0
"""CPU time for a file. A HEIC of 50 megapixels takes 1.2 s, a JPEG 2000 of 50 megapixels 4 s."""
WALL_S = 30.0
"""For a child that neither computes nor answers; on busy cores CPU_S may take as long."""
LOST_S = 2 * WALL_S
"""The longest wait for a file: a child that dies while it receives one gives no sign of it."""
MEMORY_BYTES = 2**30
"""Memory that a file may take: 50 megapixels with a depth of 16 bits, twice."""
NICE = 5
"""The children give way: a process that is not nice gets three times as much of a busy core."""
_lock = threading.Lock()

STATM = Path("/proc/self/statm")
"""What this process has, in pages; on Linux. Elsewhere memory has no limit."""


class Limits(NamedTuple):
    """What a child may take for a file."""

    cpu_s: float
    memory_bytes: int


Pixels = tuple[str, tuple[int, int], bytes]
"""The mode, the size and the pixels of an image."""


def decode_in_child(
    data: bytes, kind: str, max_pixels: int, at_least: int, as_shown: bool
) -> Image.Image:
    """As `decode_here`, in a child process that gets CPU_S and MEMORY_BYTES for a file.

    With `at_least`, the child sends the image smaller, as a JPEG would be decoded. Raises the same
    errors, and Unprocessable for a file that takes more or crashes its decoder.
    """
    arguments = (Limits(CPU_S, MEMORY_BYTES), data, kind, max_pixels, at_least, as_shown)
    try:
        try:
            mode, size, pixels = _schedule(arguments)
        except BrokenProcessPool:  # somebody has killed a child that had nothing to do
            mode, size, pixels = _schedule(arguments)
    except (ProcessExpired, TooLate):
        raise Unprocessable("the image takes too long to decode, or is harmful") from None
    return Image.frombytes(mode, size, pixels)


def _schedule(arguments: tuple[object, ...]) -> Pixels:
    with _lock:
        if not _pool().active:
            _pool.cache_clear()
        pool = _pool()
    decoding = pool.schedule(_decode, arguments, timeout=WALL_S)
    try:
        pixels: Pixels = decoding.result(LOST_S)
        return pixels
    finally:
        decoding.cancel()  # type: ignore[no-untyped-call]  # unless it has ended


@cache
def _pool() -> ProcessPool:
    """The children of this process, which start with the first file that needs one."""
    # Not "fork", as this process has threads.
    context = multiprocessing.get_context("forkserver")
    return ProcessPool(usable_cores(), initializer=os.nice, initargs=(NICE,), context=context)


def _decode(
    limits: Limits, data: bytes, kind: str, max_pixels: int, at_least: int, as_shown: bool
) -> Pixels:
    _limit(limits)
    try:
        image = decode_here(data, kind, max_pixels, at_least, as_shown)
        if at_least and (factor := min(image.size) // at_least) > 1:
            image = image.reduce(factor)
        return image.mode, image.size, image.tobytes()
    except MemoryError:
        raise TooLarge("the image takes too much memory to decode") from None
    finally:  # a child receives its next file before it limits itself for that file
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _limit(limits: Limits) -> None:
    """Limit what this process may take from now on; it is killed for more CPU."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_bytes = resource.getpagesize() * int(STATM.read_text().split()[0]) if STATM.exists() else 0
    for kind, limit in (
        (resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + limits.cpu_s)),
        (resource.RLIMIT_AS, used_bytes + limits.memory_bytes if used_bytes else -1),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
