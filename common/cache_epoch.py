"""The mark that tells the worker processes of a service that a cache was purged."""

import mmap
import os


class CacheEpoch:
    """A mark that worker processes share. After a change, each drops its cache entries."""

    def __init__(self) -> None:
        """Create the mark before the fork."""
        self._memory = mmap.mmap(-1, 8)
        self.change()  # differs from the mark before a restart

    def read(self) -> bytes:
        """The current mark."""
        return self._memory[:]

    def change(self) -> None:
        """Set a new mark."""
        self._memory[:] = os.urandom(8)
