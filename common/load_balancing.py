"""What choosing among replicas goes by: how quick each is, and how much may be asked twice."""

import math
from collections import deque

DECAY_S = 3.0
"""An estimate falls to a third in so long, so that a replica that was slow is tried again."""
WEIGHT = 0.1
"""The weight of a time that is shorter than the estimate."""
UNKNOWN_S = 0.1
"""The p95 before there are enough times to tell."""
RECENT = 200
ENOUGH = 20
BUDGET_CAP = 10.0
"""What a budget starts with and never exceeds: a quiet server may still be asked again."""


class PeakEwma:
    """How long a replica takes, in seconds: at least as long as it just took, fading from there.

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
        """The time to expect."""
        return self._value_s * math.exp((self._at - now) / DECAY_S)


class LatencyWindow:
    """The last times of all replicas of a server, in seconds, and their 95th percentile."""

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
    """How much may be asked twice: a share of what is asked, saved up to a cap.

    Source: Finagle's retry budget. Without it, retries are what keeps an overloaded server down.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = BUDGET_CAP

    def earn(self) -> None:
        """Count a request."""
        self._left = min(BUDGET_CAP, self._left + self._share)

    def spend(self) -> bool:
        """Whether one more may be sent now; if so it is counted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
