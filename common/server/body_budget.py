"""The bytes of request bodies that a worker holds at a time, and their memory after that."""

import sys
import threading

from common.errors import Overloaded
from common.server import heap
from common.server.body import READ_BYTES

USUAL_S = sys.getswitchinterval()
SHARING_S = 0.0005
"""The time after which a thread that computes passes Python's lock on while bodies are held. A text
waits for the lock several times in each service, each time for so long."""


class BodyBudget:
    """Counts the bodies of the requests in hand, by their lengths or as chunks arrive.

    A body of at most `READ_BYTES` is free: the number of requests limits these, so a text is never
    refused because others upload images. A body is taken if it is the only one, however large.

    While bodies are held, threads share Python's lock more evenly. That costs a tenth of the texts
    that a busy service answers, so it is not always so.
    """

    def __init__(self) -> None:
        self.limit = sys.maxsize
        self._lock = threading.Lock()
        self._held = 0
        self._is_kept = False
        """Whether bodies were held since their memory was last given back."""

    def held(self) -> int:
        """The bytes that are held."""
        return self._held

    def change(self, before: int, after: int) -> None:
        """Count a body of `after` bytes, of which `before` were counted; raises Overloaded."""
        more = _counted(after) - _counted(before)
        with self._lock:
            others = self._held - _counted(before)
            if more > 0 and others and self._held + more > self.limit:
                raise Overloaded("too many bytes at once: try again in a second")
            self._held += more
            self._is_kept |= more > 0
            if more:
                sys.setswitchinterval(SHARING_S if self._held else USUAL_S)

    def give_back_memory(self) -> None:
        """Give the memory of bodies back to the system once none is held."""
        with self._lock:
            if self._held or not self._is_kept:
                return
            self._is_kept = False
        heap.trim()


def _counted(size: int) -> int:
    return size if size > READ_BYTES else 0
