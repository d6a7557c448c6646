"""The estimated wait of an item in a batcher's queue, to refuse a late item early."""

MAX_WAIT_SHARE = 0.5
"""An item is refused if its estimated wait exceeds this share of its remaining time.

The rest of the time is for the item's batch and for an error of the estimate."""
EWMA_WEIGHT = 0.3
"""The weight of the last batch, so that the estimate recovers a few batches after a stall."""


class QueueWait:
    """Estimates the wait from the durations of the last batches."""

    def __init__(self, max_batch: int, lanes: int) -> None:
        """`lanes` is the number of batches that may run at a time."""
        self._max_batch = max_batch
        self._lanes = lanes
        self._batch_s = 0.0

    def observe(self, batch_s: float) -> None:
        """Count the duration of a batch, in seconds."""
        self._batch_s += EWMA_WEIGHT * (batch_s - self._batch_s)

    def is_too_long(self, waiting: int, left_s: float) -> bool:
        """Whether an item with `left_s` left would wait too long behind `waiting` items."""
        # by batches, not items: a small batch takes nearly as long as a full one
        wait_s = waiting / self._max_batch * self._batch_s / self._lanes
        return 0 < MAX_WAIT_SHARE * left_s < wait_s
