"""The rate limiter: each caller may send a burst of requests, then so many a second."""

import math
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from cachetools import LRUCache

from common.errors import RateLimited

MOST_CALLERS = 100_000
"""Only the callers that asked last are kept, in at most 20 MB. An attacker with more addresses than
this is not stopped by a limit for each address."""


class RateLimiter:
    """The generic cell rate algorithm (GCRA) of ITU-T I.371, as virtual scheduling.

    The state of a caller is one number: the time when the caller's leaky bucket is empty. Each
    request moves that time on. The time may be ahead of now by a burst; a request beyond that is
    refused, or waits if the caller is patient. Each worker process has a limiter of its own.
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
        """The number of callers that are kept."""
        return len(self._empty_at)

    def acquire(self, caller: str, patience_s: float = 0) -> float:
        """Count a request of a caller; returns the seconds that it has to wait.

        Raises RateLimited if these are over `patience_s`; a refused request is not counted.
        """
        now = self._clock()
        key = _network(caller) if ":" in caller else caller
        with self._lock:
            empty_at = max(self._empty_at.get(key, now), now)
            wait_s = empty_at - now - self._ahead_s
            if wait_s <= patience_s:
                self._empty_at[key] = empty_at + 1 / self._per_s
                return max(0.0, wait_s)
        detail = f"over the rate of {self._per_s:g} requests a second"
        raise RateLimited(detail, math.ceil(wait_s - patience_s))


def _network(caller: str) -> str:
    """The /64 network of an IPv6 address: a provider gives it to one caller as a whole."""
    try:
        address = IPv6Address(caller)
    except ValueError:
        return caller
    if address.ipv4_mapped:  # an IPv4 caller of an IPv6 listener
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))
