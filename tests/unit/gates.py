"""A run function of a batcher that waits until it is let go."""

import threading
from collections.abc import Sequence

SOON_S = 10.0


class Gate:
    """A run that waits until it is let go, and remembers its batches."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int], _deadline: float) -> list[int]:
        self.batches.append(list(items))
        self.entered.release()
        assert self.go.acquire(timeout=SOON_S)
        return [10 * item for item in items]
