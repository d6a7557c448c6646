"""How often each caller may ask: many times at once, then so many times a second."""

import math
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from cachetools import LRUCache

from common.errors import RateLimited

MOST_CALLERS = 100_000
"""Those who asked last are known, in 20 MB at most: whoever has more addresses than that is not
stopped by counting them."""


class RateLimiter:
    """One for each worker; what it keeps of a caller is one number.

    That is the virtual scheduling of ITU-T I.371, which lets through what a leaky bucket does: a
    request moves on the time when the caller's bucket is empty, and that may be ahead by a burst.
    """

    def __init__(
        self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._ahead_s = (burst - 1) / per_s
        self._empty_at: LRUCache[str, float] = LRUCache(MOST_CALLERS)
        self._lock = threading.Lock()
        self._clock = clock

    def callers(self) -> int:
        """How many callers are known."""
        return len(self._empty_at)

    def take(self, caller: str) -> None:
        """Count a request of a caller; raises RateLimited, which counts for nothing."""
        now = self._clock()
        who = _network(caller) if ":" in caller else caller
        with self._lock:
            empty_at = max(self._empty_at.get(who, now), now)
            wait_s = empty_at - now - self._ahead_s
            if wait_s <= 0:
                self._empty_at[who] = empty_at + 1 / self._per_s
                return
        raise RateLimited(f"over the rate of {self._per_s:g} requests a second", math.ceil(wait_s))


def _network(caller: str) -> str:
    """The part of an IPv6 address that a provider gives away whole; others are as they are."""
    try:
        address = IPv6Address(caller)
    except ValueError:
        return caller
    if address.ipv4_mapped:  # of a listener for both
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))
