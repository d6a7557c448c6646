"""The memory that glibc keeps after it was freed; with another C library nothing happens here."""

import ctypes
import sys

M_ARENA_MAX = -8
"""The number of this setting in glibc's malloc.h."""


def use_one_arena() -> None:
    """Have all threads allocate from one arena, the only one that `trim` can empty.

    Call this before other threads start. Python's own lock lets few threads allocate at a time.
    """
    _call("mallopt", M_ARENA_MAX, 1)


def trim() -> None:
    """Give freed memory back to the system. New memory costs time, so do this when idle."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)):
        function(*arguments)
