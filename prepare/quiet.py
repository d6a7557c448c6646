"""When files that change are whole: some time after the last change, and once they are closed."""

import threading
import time
from collections.abc import Callable

OPEN_S = 10.0
"""A file that is written to and not closed is waited for so long after the last write."""
MOST_S = 60.0
"""After the first change, nothing is waited for any longer."""


class Quiet:
    """Notes changes of files, from any thread, and tells when it is time to look at them."""

    def __init__(self, quiet_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_s = quiet_s
        self._clock = clock
        self._lock = threading.Lock()
        self._first: float | None = None
        self._last = 0.0
        self._open: dict[str, float] = {}

    def wait_longer(self, quiet_s: float) -> None:
        """Wait at least so long after the last change: it is noticed late."""
        self._quiet_s = max(self._quiet_s, quiet_s)

    def note(self, path: str, *, is_open: bool = False) -> None:
        """A file has changed; with `is_open`, its writer is to be waited for."""
        with self._lock:
            now = self._last = self._clock()
            if self._first is None:
                self._first = now
            self._open.pop(path, None)
            if is_open:
                self._open[path] = now

    def is_due(self) -> bool:
        """Whether there are changes, and all is quiet."""
        with self._lock:
            if self._first is None:
                return False
            whole_at = max((moment + OPEN_S for moment in self._open.values()), default=0.0)
            due_at = max(self._last + self._quiet_s, whole_at)
            return self._clock() >= min(due_at, self._first + MOST_S)

    def begin(self) -> None:
        """Forget all changes: they are looked at now."""
        with self._lock:
            self._first = None
            self._open.clear()
