"""What choosing among replicas goes by: how quick each has been, and what may be asked twice."""

import math
import threading
from collections import deque

DECAY_S = 3.0
"""In so long an estimate falls to a third, so that a replica that was slow is tried again."""
WEIGHT = 0.1
"""Of the last time in an estimate that was higher."""
UNKNOWN_S = 0.1
"""What is taken for the p95 before there are enough times to tell."""
RECENT = 200
ENOUGH = 20
RESERVE = 10.0
"""What a budget starts with and never exceeds: a quiet server may still be asked again."""


class Latency:
    """How long a replica takes, in seconds: never less than it just took, and fading from there.

    Source: Finagle's peak EWMA.
    """

    def __init__(self) -> None:
        self._value_s = 0.0
        self._at = 0.0

    def observe(self, took_s: float, now: float) -> None:
        """Take in a time, also that of a request that was given up: it took at least so long."""
        expected_s = self.estimate_s(now)
        step_s = took_s - expected_s
        self._value_s = expected_s + (step_s if step_s > 0 else WEIGHT * step_s)
        self._at = now

    def estimate_s(self, now: float) -> float:
        """The time to expect; `now` is on time.monotonic()."""
        return self._value_s * math.exp((self._at - now) / DECAY_S)


class Recent:
    """The last times of all replicas of a server, and their 95th percentile."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=RECENT)
        self._count = 0
        self.p95_s = UNKNOWN_S

    def observe(self, took_s: float) -> None:
        """Take in the time of a reply."""
        self._times_s.append(took_s)
        self._count += 1
        if self._count % ENOUGH == 0:
            self.p95_s = sorted(self._times_s)[len(self._times_s) * 95 // 100]


class Budget:
    """How much may be asked twice: a share of what is asked, saved up to a reserve.

    Source: Finagle's retry budget. Without it, retries are what keeps an overloaded server down.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = RESERVE
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count a request."""
        with self._lock:
            self._left = min(RESERVE, self._left + self._share)

    def spend(self) -> bool:
        """Whether one may be sent again now; if so it is counted."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True
