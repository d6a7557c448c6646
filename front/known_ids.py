"""The ids that middle has lately said to be in the index, so that it need not say so again."""

import threading
import time
from collections.abc import Callable, Hashable

MAX_IDS = 100_000
SETTLED_S = 5.0
"""After a change, search servers may still tell of an image that it deletes: middle knows of it
first."""
Mark = Hashable | None


class KnownIds:
    """Known ids, forgotten when the mark changes; any thread may use them."""

    def __init__(self, mark: Callable[[], Mark], now: Callable[[], float] = time.monotonic) -> None:
        """`mark` changes with whatever may take an image out of the index; None: not known."""
        self.mark, self._now = mark, now
        self._lock = threading.Lock()
        self._of: Mark = None
        self._since = 0.0
        self._ids: set[str] = set()

    def have(self, image_id: str) -> bool:
        """Whether an id is known to be there."""
        mark = self.mark()
        with self._lock:
            return mark is not None and mark == self._of and image_id in self._ids

    def add(self, image_id: str, mark: Mark) -> None:
        """Note an id; `mark` was read before middle was asked."""
        with self._lock:
            if mark != self._of:
                self._of, self._ids, self._since = mark, set(), self._now()
            if len(self._ids) >= MAX_IDS:
                self._ids = set()
            if self._now() - self._since >= SETTLED_S:
                self._ids.add(image_id)
