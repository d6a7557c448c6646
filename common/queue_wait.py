"""The estimated wait of an item in a batcher's queue, to refuse a late item early."""

from collections import deque

MAX_WAIT_SHARE = 0.6
"""An item is refused if its estimated wait exceeds this share of its remaining time.

The rest of the time is for the item's batch and for an error of the estimate."""


class QueueWait:
    """Estimates the wait from the shortest of the last batches, one more than there are lanes.

    A stalled machine stretches the batch of every lane. The first batch after the stall then
    already sets the estimate right, where an average would refuse items for several batches more.
    """

    def __init__(self, max_batch: int, lanes: int) -> None:
        """`lanes` is the number of batches that may run at a time."""
        self._max_batch = max_batch
        self.lanes = lanes
        self._batches_s: deque[float] = deque()

    def observe(self, batch_s: float) -> None:
        """Count the duration of a batch, in seconds."""
        self._batches_s.append(batch_s)
        while len(self._batches_s) > self.lanes + 1:
            self._batches_s.popleft()

    def is_too_long(self, waiting: int, left_s: float) -> bool:
        """Whether an item with `left_s` left would wait too long behind `waiting` items."""
        # by batches, not items: a small batch takes nearly as long as a full one
        batch_s = min(self._batches_s, default=0.0)
        wait_s = waiting / self._max_batch * batch_s / self.lanes
        return 0 < MAX_WAIT_SHARE * left_s < wait_s
