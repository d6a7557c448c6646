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


class _Entries(TLRUCache[str, tuple[float, bytes]]):
    """Counts what has to make room."""

    def popitem(self) -> tuple[str, tuple[float, bytes]]:
        CACHE_EVICTIONS.inc()
        return super().popitem()


class MemoryStore:
    """A `Store` in this process, for all its threads, up to a number of bytes."""

    def __init__(self, how: Middle, generation: Generation) -> None:
        """`how` has the size, the policy and the expiry."""
        expiry_s = float("inf") if how.cache_policy == "lru" else how.cache_expiry_s
        self._renews = how.cache_policy == "idle"
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

    def lookup(self, key: str, awaited: Awaited, slot: int) -> None:
        """Settle a slot with the Entry of a key, or None, before it returns."""
        with self._lock:
            if self._seen != self._generation.read():  # another worker was told to purge
                self._clear()
            kept = self._entries.get(key)
            if kept and self._renews:
                self._entries[key] = kept
        awaited.settle(slot, kept and Entry(kept[1], time.monotonic() - kept[0]))

    def save(self, key: str, value: bytes) -> None:
        """Keep a value that is not larger than all there may be."""
        kept = time.monotonic(), value
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


def _size(kept: tuple[float, bytes]) -> int:
    return ENTRY_BYTES + len(kept[1])
