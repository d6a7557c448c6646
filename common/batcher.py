"""A dynamic batcher for threads: one bounded queue, and workers that take its items in batches.

An idle worker takes an item at once. While all workers are busy, the queue grows. The next free
worker takes waiting items together. No timer adds latency while the load is low.
Each run function has its own worker thread, so it never runs two batches at a time.

Items of similar size go together, the smallest first: no small item waits for the end of a large
one in its batch. The oldest item is passed over `MAX_PASSES` times at most.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from common.buckets import buckets
from common.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from common.metrics import BATCH_ITEMS, BATCH_SIZE
from common.queue_wait import QueueWait
from common.request_context import CONTEXT, merge_contexts

log = logging.getLogger(__name__)

MAX_PASSES = 3
"""Batches that may go before the batch with the oldest item: under load, large items then get a
quarter of the batches at least."""

Run = Callable[[list[Any], float], Sequence[Any]]
"""Takes a batch's items and their latest deadline; returns a result or an Exception for each."""


class Gather:
    """The results of one request, a slot for each of its items."""

    def __init__(self, slots: int, deadline: float) -> None:
        """`deadline` is on the clock of time.monotonic()."""
        self.deadline = deadline
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
            self._done.wait(max(0.0, self.deadline - time.monotonic()))
        self.abandoned = True
        with self._lock:
            for slot in self._open:
                self._results[slot] = DeadlineExceeded("no answer within the deadline")
            self._open.clear()
        return self._results

    def first(self) -> Any:
        """Wait for the only slot; returns its result or raises its Exception."""
        result = self.wait()[0]
        if isinstance(result, Exception):
            raise result
        return result


class _Entry(NamedTuple):
    item: Any
    gather: Gather
    slot: int
    size: int


class Batcher:
    """Runs submitted items in batches, with a worker thread for each function of `runs`."""

    def __init__(
        self,
        name: str,
        runs: Sequence[Run],
        max_batch: int,
        max_queue: int,
        *,
        max_size: int = sys.maxsize,
        refuse_late: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """A batch has at most `max_batch` items, and the size `max_size` if it has more than one.

        With `refuse_late`, an item is refused if its estimated wait is too long: `QueueWait`.
        """
        self.name = name
        self._refuse_late = refuse_late
        self._now = now
        self._wait = QueueWait(max_batch, len(runs))
        self._max_batch = max_batch
        self._max_size = max_size
        self._max_queue = max_queue
        self._queue: list[_Entry] = []
        self._passes = 0
        """The batches since the oldest item became the oldest."""
        self._observed, self._observed_s = 0, 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, args=(run,), name=f"batcher-{name}", daemon=True)
            for run in runs
        ]

    def start(self) -> None:
        """Start the workers; call it after the process has forked."""
        for worker in self._workers:
            worker.start()

    def submit(self, item: Any, gather: Gather, slot: int = 0, size: int = 1) -> None:
        """Queue `item` for a slot of `gather`; a refusal is set in the slot at once.

        `size` is the cost to run the item, in any unit.
        """
        with self._changed:
            refusal = self._why_not(gather.deadline)
            if refusal is None:
                self._queue.append(_Entry(item, gather, slot, size))
                self._changed.notify()
                return
        BATCH_ITEMS.labels(self.name, "refused").inc()
        gather.set_result(slot, refusal)

    def _why_not(self, deadline: float) -> ServiceError | None:
        """The error for an item that cannot be queued now, else None."""
        if self._closed:
            return Unavailable(f"the {self.name} queue is closed")
        waiting = len(self._queue)
        if waiting >= self._max_queue:
            return Overloaded(f"the {self.name} queue is full ({self._max_queue} items)")
        if self._refuse_late and self._wait.is_too_long(waiting, deadline - self._now()):
            return Overloaded(f"the {self.name} queue is too long for the deadline")
        return None

    def close(self) -> None:
        """Refuse new items, run the queued items, and end the workers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            if worker.ident is not None:
                worker.join()

    def _work(self, run: Run) -> None:
        while batch := self._take():
            BATCH_SIZE.labels(self.name).observe(len(batch))
            began = self._now()
            self._run_batch(batch, run)
            self._observe(len(batch), self._now() - began)

    def _take(self) -> list[_Entry]:
        """Wait for a batch; returns an empty list when the batcher is closed and drained."""
        with self._changed:
            while True:
                self._queue = [entry for entry in self._queue if self._is_live(entry)]
                if self._queue:
                    return self._choose()
                if self._closed:
                    return []
                self._changed.wait()

    def _choose(self) -> list[_Entry]:
        """Take the smallest items from the queue, or the oldest and its like at its turn."""
        sizes = [entry.size for entry in self._queue]
        groups = buckets(sizes, self._max_batch, self._max_size)
        oldest = next(group for group in groups if 0 in group)
        chosen = oldest if self._passes >= MAX_PASSES else groups[0]
        self._passes = 0 if chosen is oldest else self._passes + 1
        batch = [self._queue[place] for place in chosen]
        taken = set(chosen)
        self._queue = [entry for place, entry in enumerate(self._queue) if place not in taken]
        return batch

    def _observe(self, count: int, took_s: float) -> None:
        """Tell `QueueWait` the time of batches that together were full or emptied the queue."""
        with self._changed:
            self._observed += count
            self._observed_s += took_s
            if self._observed < self._max_batch and self._queue:
                return
            self._wait.observe(self._observed_s)
            self._observed, self._observed_s = 0, 0.0

    def _is_live(self, entry: _Entry) -> bool:
        if entry.gather.abandoned:
            BATCH_ITEMS.labels(self.name, "abandoned").inc()
        elif entry.gather.deadline <= self._now():
            BATCH_ITEMS.labels(self.name, "expired").inc()
            entry.gather.set_result(
                entry.slot, DeadlineExceeded("the deadline passed in the queue")
            )
        else:
            return True
        return False

    def _run_batch(self, batch: list[_Entry], run: Run) -> None:
        """Run a batch and set the result of each item, even if the run fails."""
        results: Sequence[Any]
        CONTEXT.set(merge_contexts(entry.gather.context for entry in batch))
        try:
            deadline = max(entry.gather.deadline for entry in batch)
            results = run([entry.item for entry in batch], deadline)
            if len(results) != len(batch):
                raise RuntimeError(f"{self.name}: {len(results)} results for {len(batch)} items")
        except Exception as error:  # every item needs a result
            if not isinstance(error, ServiceError):
                log.exception("a batch of %s failed", self.name)
            results = [error] * len(batch)
        failed = sum(isinstance(result, Exception) for result in results)
        BATCH_ITEMS.labels(self.name, "ok").inc(len(batch) - failed)
        BATCH_ITEMS.labels(self.name, "failed").inc(failed)
        for entry, result in zip(batch, results, strict=True):
            entry.gather.set_result(entry.slot, result)


def isolating(run: Run) -> Run:
    """Wrap `run`: a failed batch is run item by item, so that only the bad item fails."""

    def run_isolated(items: list[Any], deadline: float) -> Sequence[Any]:
        try:
            return run(items, deadline)
        except Exception as error:  # any error of a runtime
            if len(items) == 1:
                raise
            log.warning("a batch of %d failed, running its items alone: %s", len(items), error)
            return [_alone(run, item, deadline) for item in items]

    return run_isolated


def _alone(run: Run, item: Any, deadline: float) -> Any:
    try:
        return run([item], deadline)[0]
    except Exception as error:  # it becomes the result of the item
        return error
