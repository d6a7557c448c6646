"""Where the prediction cache keeps its entries, and the store that is this process's memory."""

import mmap
import os
import threading
import time
from typing import NamedTuple, Protocol

from cachetools import TLRUCache

from common.batcher import Awaited
from common.config import Middle
from common.metrics import CACHE_BYTES, CACHE_EVICTIONS

ENTRY_BYTES = 700
"""What an entry takes beside its value: its key and its places in three dicts and a heap."""
RENEWAL = 1 / 64
"""Of the expiry: an entry in use is renewed no more often than that, and so lives that much longer:
renewing takes three times as long as finding."""


class Entry(NamedTuple):
    """What was kept, and for how long."""

    value: bytes
    age_s: float


class Store(Protocol):
    """Values by key; what it lost or cannot give just now is as if it had never been there."""

    def start(self) -> None:
        """Start its threads; call it after the process has forked."""

    def close(self) -> None:
        """End them."""

    def peek(self, key: str) -> Entry | None:
        """The Entry of a key, where it is at hand without any waiting."""

    def lookup(self, key: str, awaited: Awaited, slot: int) -> None:
        """Settle a slot with the Entry of a key; with anything else when there is none."""

    def save(self, key: str, value: bytes) -> None:
        """Keep a value; returns at once."""

    def purge(self, deadline: float) -> None:
        """Forget everything; raises Unavailable or DeadlineExceeded."""


class Generation:
    """A mark that worker processes share: they drop what they keep when it has changed."""

    def __init__(self) -> None:
        """Make it before the fork."""
        self._memory = mmap.mmap(-1, 8)

    def read(self) -> bytes:
        """The mark."""
        return self._memory[:]

    def change(self) -> None:
        """Set another."""
        self._memory[:] = os.urandom(8)


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

    def __init__(self, how: Middle, generation: Generation) -> None:
        """`how` has the size, the policy and the expiry."""
        expiry_s = float("inf") if how.cache_policy == "lru" else how.cache_expiry_s
        self._renewal_s = RENEWAL * expiry_s if how.cache_policy == "idle" else float("inf")
        if how.cache_policy == "idle":
            expiry_s += self._renewal_s
        self._lock = threading.Lock()
        self._generation = generation
        self._seen = generation.read()
        self._entries = _Entries(
            how.cache_bytes, lambda _key, _kept, now: now + expiry_s, time.monotonic, _size
        )

    def start(self) -> None:
        """Nothing: it has no threads."""

    def close(self) -> None:
        """Nothing."""

    def peek(self, key: str) -> Entry | None:
        """The Entry of a key."""
        now = time.monotonic()
        with self._lock:
            if self._seen != self._generation.read():  # another worker was told to purge
                self._clear()
            try:
                kept = self._entries[key]
            except KeyError:
                return None
            if now - kept.used > self._renewal_s:
                self._entries[key] = kept._replace(used=now)
        return Entry(kept.value, now - kept.made)

    def lookup(self, key: str, awaited: Awaited, slot: int) -> None:
        """Settle a slot with the Entry of a key, or None, before it returns."""
        awaited.settle(slot, self.peek(key))

    def save(self, key: str, value: bytes) -> None:
        """Keep a value that is not larger than all there may be."""
        now = time.monotonic()
        kept = _Kept(value, now, now)
        with self._lock:
            if _size(kept) <= self._entries.maxsize:
                self._entries[key] = kept
            CACHE_BYTES.set(self._entries.currsize)

    def purge(self, _deadline: float) -> None:
        """Forget everything; the other workers do so at their next query."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._seen = self._generation.read()
        self._entries.clear()
        CACHE_BYTES.set(0)


def _size(kept: _Kept) -> int:
    return ENTRY_BYTES + len(kept.value)
