"""What the worker processes of a service tell each other: that a cache was purged, and writes."""

import mmap
import os

MARK = slice(0, 8)
POSITION = slice(8, 16)


class CacheEpoch:
    """A mark that worker processes share. After a change, each drops its cache entries."""

    def __init__(self) -> None:
        """Create the mark before the fork."""
        self._memory = mmap.mmap(-1, 16)
        self.change()  # differs from the mark before a restart

    def read(self) -> bytes:
        """The current mark."""
        return self._memory[MARK]

    def change(self) -> None:
        """Set a new mark."""
        self._memory[MARK] = os.urandom(8)

    def position(self) -> int:
        """The position in the log of the last write by any of the processes."""
        return int.from_bytes(self._memory[POSITION], "little")

    def restart(self, position: int) -> None:
        """Note that the log is another one, which ends there."""
        self._memory[POSITION] = position.to_bytes(8, "little")

    def advance(self, position: int) -> None:
        """Note a write.

        Of two at the same moment the later one may be lost: middle asks for the position anyway,
        each second.
        """
        self._memory[POSITION] = max(position, self.position()).to_bytes(8, "little")
