"""The mark by which the worker processes of a service learn that a cache was purged."""

import mmap
import os


class CacheEpoch:
    """A mark that worker processes share: they drop what they keep when it has changed."""

    def __init__(self) -> None:
        """Make it before the fork."""
        self._memory = mmap.mmap(-1, 8)
        self.change()  # another one than before the service was started anew

    def read(self) -> bytes:
        """The mark."""
        return self._memory[:]

    def change(self) -> None:
        """Set another."""
        self._memory[:] = os.urandom(8)
