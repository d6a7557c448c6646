"""The results of one request to a batcher, gathered from the batches that its items went in."""

import threading
import time
from typing import Any

from common.errors import DeadlineExceeded
from common.request_context import CONTEXT


class Gather:
    """The results of one request, a slot for each of its items."""

    def __init__(self, slots: int, deadline: float, inputs: list[Any] | None = None) -> None:
        """`deadline` is on the clock of time.monotonic().

        `inputs` is emptied when nobody waits for results any more: threads that are busy may hold
        on to a request for long after it was answered.
        """
        self.deadline = deadline
        self._inputs = inputs if inputs is not None else []
        self.context = CONTEXT.get()
        self.abandoned = False
        self._results: list[Any] = [None] * slots
        self._open = set(range(slots))
        self._lock = threading.Lock()
        self._done = threading.Event()

    def set_result(self, slot: int, result: Any) -> None:
        """Set the result of a slot, or its Exception; a second result is ignored."""
        with self._lock:
            if slot in self._open:
                self._open.remove(slot)
                self._results[slot] = result
            if not self._open:
                self._done.set()

    def wait(self) -> list[Any]:
        """Wait for all results until the deadline; a missing result becomes DeadlineExceeded."""
        if self._open:
            left_s = max(0.0, self.deadline - time.monotonic())
            self._done.wait(min(left_s, threading.TIMEOUT_MAX))
        self.abandoned = True
        with self._lock:
            for slot in self._open:
                self._results[slot] = DeadlineExceeded("no answer within the deadline")
            self._open.clear()
        self._inputs.clear()
        return self._results

    def first(self) -> Any:
        """Wait for the only slot; returns its result or raises its Exception."""
        result = self.wait()[0]
        if isinstance(result, Exception):
            raise result
        return result
