"""The interface of a store of the prediction cache, and the store in this process's memory."""

import threading
import time
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from cachetools import TLRUCache

from common.cache_epoch import CacheEpoch
from common.config import Middle
from common.metrics import CACHE_BYTES, CACHE_EVICTIONS

ENTRY_BYTES = 700
"""The overhead of an entry: its key and its places in three dicts and a heap."""
RENEWAL = 1 / 64
"""An entry in use is renewed once in this share of the expiry: a renewal costs three look-ups. The
expiry is longer by the same share, so that an entry does not expire early."""


StoreName = Literal["answers", "encodings"]
"""Embeddings and answers are small; encodings of images, of 2 MiB each, would push them out."""


class CacheEntry(NamedTuple):
    """A cached value and its age."""

    value: bytes
    age_s: float


class Store(Protocol):
    """Values by key. A lost or unreachable value counts as absent."""

    is_remote: bool
    """Whether `find` asks a server; otherwise `peek` finds every entry."""

    def peek(self, key: str) -> CacheEntry | None:
        """The entry of a key if it is there without a wait; from any thread."""

    async def find(self, key: str) -> CacheEntry | None:
        """The entry of a key; raises nothing."""

    def save(self, key: str, value: bytes) -> None:
        """Store a value; returns at once."""

    async def purge(self, deadline: float) -> None:
        """Delete all entries; raises Unavailable or DeadlineExceeded."""

    async def close(self) -> None:
        """Write the waiting values, and close the connections."""


class _Kept(NamedTuple):
    """A value, the time it was stored and the time it was last renewed, on time.monotonic()."""

    value: bytes
    made: float
    used: float


class _Entries(TLRUCache[str, _Kept]):
    """Counts evictions."""

    def popitem(self) -> tuple[str, _Kept]:
        CACHE_EVICTIONS.inc()
        return super().popitem()


class MemoryStore:
    """A `Store` in this process for all its threads, with a limit of bytes."""

    is_remote = False

    def __init__(
        self,
        settings: Middle,
        epoch: CacheEpoch,
        now: Callable[[], float] = time.monotonic,
        *,
        name: StoreName = "answers",
    ) -> None:
        """`settings` has the size, the policy and the expiry."""
        is_large = name == "encodings"
        max_bytes = settings.segment_cache_bytes if is_large else settings.cache_bytes
        self._bytes = CACHE_BYTES.labels(name)
        expiry_s = float("inf") if settings.cache_policy == "lru" else settings.cache_expiry_s
        self._renewal_s = RENEWAL * expiry_s if settings.cache_policy == "idle" else float("inf")
        if settings.cache_policy == "idle":
            expiry_s += self._renewal_s
        self._now = now
        self._lock = threading.Lock()
        self._epoch = epoch
        self._seen = epoch.read()
        self._entries = _Entries(max_bytes, lambda _key, _kept, then: then + expiry_s, now, _size)

    def peek(self, key: str) -> CacheEntry | None:
        """The entry of a key."""
        now = self._now()
        with self._lock:
            if self._seen != self._epoch.read():  # another worker has purged
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
        """Store a value, unless it is larger than the whole cache."""
        now = self._now()
        kept = _Kept(value, now, now)
        with self._lock:
            if _size(kept) <= self._entries.maxsize:
                self._entries[key] = kept
            self._bytes.set(self._entries.currsize)

    async def purge(self, _deadline: float) -> None:
        """Delete all entries; the other workers do so at their next look-up."""
        with self._lock:
            self._clear()

    async def close(self) -> None:
        """Nothing to close."""

    def _clear(self) -> None:
        self._seen = self._epoch.read()
        self._entries.clear()
        self._bytes.set(0)


def _size(kept: _Kept) -> int:
    return ENTRY_BYTES + len(kept.value)
