"""The share of a queue that each of several kinds of device may take, such as a GPU and a CPU.

The fastest kind takes all that waits. A slower kind takes as many items as it computes in the time
that the faster ones need for all that waits. So it adds its speed to a long queue, and no item ends
later than without it: a short queue is left to the faster kinds. That is the threshold policy for
servers of unequal speed (Lin and Kumar, IEEE Transactions on Automatic Control 29(8), 1984).
"""

from collections import deque
from collections.abc import Callable, Mapping

BATCHES = 8
"""A kind's speed is that of the fastest of its last batches: a stall is not the device's speed."""
MIN_BATCHES = 3
"""With fewer, the speed of a kind is not known, as the first batches may be slow. It then takes
items one by one."""
TRY_AGAIN_S = 60.0
"""A kind that took nothing for this time takes one item: its speed may have been misjudged."""


class DeviceShares:
    """Tells how many items of a queue a worker may take. Its caller holds a lock."""

    def __init__(self, workers: Mapping[str, int], now: Callable[[], float]) -> None:
        """`workers` is the number of workers by the kind of device, the fastest kind first.

        The order counts while no speed is known.
        """
        self._workers = dict(workers)
        self._now = now
        self._item_s = {kind: deque[float](maxlen=BATCHES) for kind in workers}
        self._last_s = dict.fromkeys(workers, now())

    def observe(self, kind: str, size: int, took_s: float) -> None:
        """Count a batch of a worker: the sum of its items' sizes, and its duration."""
        if size:  # an empty text has none
            self._item_s[kind].append(took_s / size)
        self._last_s[kind] = self._now()

    def most(self, kind: str, waiting: int) -> int:
        """The most items that a worker of a kind may take now of those that wait."""
        if len(self._workers) == 1:
            return waiting
        speed = self._speed(kind)
        if not speed:
            return waiting if kind == next(iter(self._workers)) else min(1, waiting)
        faster = sum(
            count * other_speed
            for other, count in self._workers.items()
            if (other_speed := self._speed(other)) > speed
        )
        share = int(waiting * speed / faster) if faster else waiting
        if not share and self._now() - self._last_s[kind] > TRY_AGAIN_S:
            return min(1, waiting)
        return min(share, waiting)

    def _speed(self, kind: str) -> float:
        """The size that a worker of a kind computes in a second; 0 if it is not known yet."""
        seen = self._item_s[kind]
        return 1 / max(min(seen), 1e-9) if len(seen) >= MIN_BATCHES else 0.0
