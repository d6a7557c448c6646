"""Where the prediction cache keeps its entries; and the store that is this process's memory."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cachetools import TLRUCache

from common.cache_epoch import CacheEpoch
from common.config import Middle
from common.metrics import CACHE_BYTES, CACHE_EVICTIONS

ENTRY_BYTES = 700
"""What an entry takes beside its value: its key and its places in three dicts and a heap."""
RENEWAL = 1 / 64
"""Of the expiry: an entry in use is renewed no more often than that, and so lives that much longer:
renewing takes three times as long as finding."""


class CacheEntry(NamedTuple):
    """What was kept, and for how long."""

    value: bytes
    age_s: float


class Store(Protocol):
    """Values by key; what it lost or cannot give just now is as if it had never been there."""

    is_remote: bool
    """Whether `find` asks a server; else `peek` finds all that there is."""

    def peek(self, key: str) -> CacheEntry | None:
        """The entry of a key, where it is at hand without any waiting; from any thread."""

    async def find(self, key: str) -> CacheEntry | None:
        """The entry of a key; raises nothing."""

    def save(self, key: str, value: bytes) -> None:
        """Keep a value; returns at once."""

    async def purge(self, deadline: float) -> None:
        """Forget everything; raises Unavailable or DeadlineExceeded."""

    async def close(self) -> None:
        """Write what waits, and close the connections."""


class _Kept(NamedTuple):
    """A value, when it was made and when it was last said to be in use; time.monotonic()."""

    value: bytes
    made: float
    used: float


class _Entries(TLRUCache[str, _Kept]):
    """Counts what has to make room."""

    def popitem(self) -> tuple[str, _Kept]:
        CACHE_EVICTIONS.inc()
        return super().popitem()


class MemoryStore:
    """A `Store` in this process, for all its threads, up to a number of bytes."""

    is_remote = False

    def __init__(
        self, settings: Middle, epoch: CacheEpoch, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`settings` has the size, the policy and the expiry."""
        expiry_s = float("inf") if settings.cache_policy == "lru" else settings.cache_expiry_s
        self._renewal_s = RENEWAL * expiry_s if settings.cache_policy == "idle" else float("inf")
        if settings.cache_policy == "idle":
            expiry_s += self._renewal_s
        self._now = now
        self._lock = threading.Lock()
        self._epoch = epoch
        self._seen = epoch.read()
        self._entries = _Entries(
            settings.cache_bytes, lambda _key, _kept, then: then + expiry_s, now, _size
        )

    def peek(self, key: str) -> CacheEntry | None:
        """The entry of a key."""
        now = self._now()
        with self._lock:
            if self._seen != self._epoch.read():  # another worker was told to purge
                self._clear()
            try:
                kept = self._entries[key]
            except KeyError:
                return None
            if now - kept.used > self._renewal_s:
                self._entries[key] = kept._replace(used=now)
        return CacheEntry(kept.value, now - kept.made)

    async def find(self, key: str) -> CacheEntry | None:
        """The entry of a key."""
        return self.peek(key)

    def save(self, key: str, value: bytes) -> None:
        """Keep a value that is not larger than all there may be."""
        now = self._now()
        kept = _Kept(value, now, now)
        with self._lock:
            if _size(kept) <= self._entries.maxsize:
                self._entries[key] = kept
            CACHE_BYTES.set(self._entries.currsize)

    async def purge(self, _deadline: float) -> None:
        """Forget everything; the other workers do so at their next query."""
        with self._lock:
            self._clear()

    async def close(self) -> None:
        """Nothing: it has no connections."""

    def _clear(self) -> None:
        self._seen = self._epoch.read()
        self._entries.clear()
        CACHE_BYTES.set(0)


def _size(kept: _Kept) -> int:
    return ENTRY_BYTES + len(kept.value)
