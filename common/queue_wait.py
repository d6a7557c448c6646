"""How long an item would wait in a queue that goes in batches: an estimate, to refuse it early."""

MAX_WAIT_SHARE = 0.5
"""The share of its remaining time that an item may be expected to wait: the batch takes time as
well, and the estimate is a guess."""
EWMA_WEIGHT = 0.3
"""The weight of the last batch in that estimate: it is right again a few batches after a stall."""


class QueueWait:
    """Knows how long the last batches took."""

    def __init__(self, max_batch: int, lanes: int) -> None:
        """`lanes` is how many batches are under way at a time."""
        self._max_batch = max_batch
        self._lanes = lanes
        self._batch_s = 0.0

    def observe(self, batch_s: float) -> None:
        """Take in how long a batch took."""
        self._batch_s += EWMA_WEIGHT * (batch_s - self._batch_s)

    def is_too_long(self, waiting: int, left_s: float) -> bool:
        """Whether an item with `left_s` to live would wait too long behind `waiting` others."""
        # by batches and not by items: a small batch takes nearly as long as a full one
        wait_s = waiting / self._max_batch * self._batch_s / self._lanes
        return 0 < MAX_WAIT_SHARE * left_s < wait_s
