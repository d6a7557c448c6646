"""The requests that a process has in hand, and whether it is on its way out."""

import threading
from contextvars import ContextVar
from typing import NamedTuple

ARRIVED: ContextVar[float | None] = ContextVar("arrived", default=None)
"""When the request that this thread serves could be read, on time.monotonic(), where the server
knows: it may have waited for the thread since."""


class Underway(NamedTuple):
    """A request that a thread answers."""

    since: float
    """On time.monotonic()."""
    request_id: str


class InFlight:
    """Each thread answers one request at a time; steps of a dict need no lock."""

    def __init__(self) -> None:
        self.draining = threading.Event()
        self.admitted = 0
        """Those that wait for a thread, too, where the server counts them; by one thread."""
        self._excused = 0
        self._lock = threading.Lock()
        self._by_thread: dict[int, Underway] = {}

    def enter(self, since: float, request_id: str) -> None:
        """This thread answers a request from now on."""
        self._by_thread[threading.get_ident()] = Underway(since, request_id)

    def leave(self) -> None:
        """It does so no more."""
        self._by_thread.pop(threading.get_ident(), None)

    def excuse(self, change: int) -> None:
        """Leave some that were admitted out of the count: they ask for nothing but how it is."""
        with self._lock:
            self._excused += change

    def count(self) -> int:
        """How many requests are in hand."""
        return max(self.admitted - self._excused, len(self._by_thread))

    def by_age(self) -> list[tuple[int, Underway]]:
        """The threads and their requests, the oldest first."""
        return sorted(self._by_thread.copy().items(), key=lambda item: item[1].since)
