"""Load balancing among replicas: latency estimates, and budgets for second requests."""

import math
from collections import deque

DECAY_S = 3.0
"""An estimate falls to 37 % in this time, so that a slow replica is tried again."""
WEIGHT = 0.1
"""The weight of a latency below the estimate. A latency above it counts in full."""
UNKNOWN_S = 0.1
"""The p98 before the first `ENOUGH` latencies."""
RECENT = 200  # latencies in the window
ENOUGH = 20  # new latencies after which the p98 is computed again
BUDGET_CAP = 10.0
"""A budget's first and largest value, so that a service with few requests can retry, too."""


class PeakEwma:
    """Estimates a replica's latency in seconds: a peak counts in full, then decays.

    Source: Finagle's peak EWMA.
    """

    def __init__(self) -> None:
        self._value_s = 0.0
        self._at = 0.0

    def observe(self, took_s: float, now: float) -> None:
        """Count a latency in seconds. For a cancelled request it is the time until then."""
        expected_s = self.estimate_s(now)
        step_s = took_s - expected_s
        self._value_s = expected_s + (step_s if step_s > 0 else WEIGHT * step_s)
        self._at = now

    def estimate_s(self, now: float) -> float:
        """The latency to expect, in seconds."""
        return self._value_s * math.exp((self._at - now) / DECAY_S)


class LatencyWindow:
    """The last latencies of all replicas of a service, in seconds, and their 98th percentile."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=RECENT)
        self._count = 0
        self.p98_s = UNKNOWN_S

    def observe(self, took_s: float) -> None:
        """Count the latency of a reply."""
        self._times_s.append(took_s)
        self._count += 1
        if self._count % ENOUGH == 0:
            self.p98_s = sorted(self._times_s)[len(self._times_s) * 98 // 100]


class Budget:
    """Limits second requests to a share of all requests; an unused share is saved up to a cap.

    Source: Finagle's retry budget. Without a limit, retries keep an overloaded server down.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = BUDGET_CAP

    def earn(self) -> None:
        """Count a request; its share is added to the budget."""
        self._left = min(BUDGET_CAP, self._left + self._share)

    def spend(self) -> bool:
        """Take a second request from the budget; False if the budget is empty."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
