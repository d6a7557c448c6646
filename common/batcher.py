"""A dynamic batcher for threads: one bounded queue, and workers that take its items in batches.

An idle worker takes an item at once. While all workers are busy, the queue grows. The next free
worker takes waiting items together. No timer adds latency while the load is low.
Each run function has its own worker thread, so it never runs two batches at a time. Workers on
several kinds of device take from the same queue, each kind its share: `common/device_shares.py`.

Items of similar size go together, the smallest first: no small item waits for the end of a large
one in its batch. The oldest item is passed over `MAX_PASSES` times at most.
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from common.buckets import buckets
from common.device_shares import DeviceShares
from common.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from common.gather import Gather
from common.metrics import BATCH_FILL, BATCH_ITEMS, BATCH_SIZE, IDLE_WORKERS, QUEUE_ITEMS
from common.queue_wait import QueueWait
from common.request_context import CONTEXT, merge_contexts

log = logging.getLogger(__name__)

MAX_PASSES = 3
"""Batches that may go before the batch with the oldest item: under load, large items then get a
quarter of the batches at least."""

Run = Callable[[list[Any], float], Sequence[Any]]
"""Takes a batch's items and their latest deadline; returns a result or an Exception for each."""


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
        runs: Mapping[str, Sequence[Run]],
        max_batch: int,
        max_queue: int,
        *,
        max_size: int = sys.maxsize,
        refuse_late: bool = False,
        leaves_shares: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`runs` are by the kind of device that they run on, the fastest kind first.

        A batch has at most `max_batch` items, and the size `max_size` if it has more than one.
        With `refuse_late`, an item is refused if its estimated wait is too long: `QueueWait`. With
        `leaves_shares`, a worker leaves to each other of its kind as many items as it takes.
        """
        self.name = name
        self._refuse_late = refuse_late
        self._now = now
        workers = {kind: len(functions) for kind, functions in runs.items()}
        self._wait = QueueWait(max_batch, next(iter(workers.values())))
        self._shares = DeviceShares(workers, now)
        self._max_batch = max_batch
        self._max_size = max_size
        self._max_queue = max_queue
        self._queue: list[_Entry] = []
        self._passes = 0
        """The batches since the oldest item became the oldest."""
        self._observed, self._observed_s = 0, 0.0
        self._lock = threading.Lock()
        self._changed = {kind: threading.Condition(self._lock) for kind in runs}
        self._idle = workers
        self._sharing = dict(workers) if leaves_shares else dict.fromkeys(workers, 1)
        self._closed = False
        self._workers = [
            threading.Thread(
                target=self._work, args=(run, kind), name=f"batcher-{name}", daemon=True
            )
            for kind, functions in runs.items()
            for run in functions
        ]

    def start(self) -> None:
        """Start the workers; call it after the process has forked."""
        QUEUE_ITEMS.labels(self.name).set_function(lambda: len(self._queue))
        for kind in self._idle:
            IDLE_WORKERS.labels(self.name, kind).set_function(partial(self._idle.__getitem__, kind))
        for worker in self._workers:
            worker.start()

    def submit(self, item: Any, gather: Gather, slot: int = 0, size: int = 1) -> None:
        """Queue `item` for a slot of `gather`; a refusal is set in the slot at once.

        `size` is the cost to run the item, in any unit.
        """
        with self._lock:
            refusal = self._why_not(gather.deadline)
            if refusal is None:
                self._queue.append(_Entry(item, gather, slot, size))
                self._wake()
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
        with self._lock:
            self._closed = True
            for changed in self._changed.values():
                changed.notify_all()
        for worker in self._workers:
            if worker.ident is not None:
                worker.join()

    def _work(self, run: Run, kind: str) -> None:
        while batch := self._take(kind):
            BATCH_SIZE.labels(self.name).observe(len(batch))
            BATCH_FILL.labels(self.name).set(self._fill(batch))
            began = self._now()
            self._run_batch(batch, run)
            self._observe(batch, kind, self._now() - began)

    def _take(self, kind: str) -> list[_Entry]:
        """Wait for a batch; returns an empty list when the batcher is closed and drained."""
        with self._lock:
            while True:
                self._queue = [entry for entry in self._queue if self._is_live(entry)]
                waiting = len(self._queue)
                if most := waiting if self._closed else self._shares.most(kind, waiting):
                    batch = self._choose(math.ceil(most / self._sharing[kind]))
                    self._idle[kind] -= 1
                    self._wake()
                    return batch
                if self._closed:
                    return []
                self._wake()
                self._changed[kind].wait()

    def _wake(self) -> None:
        """Notify an idle worker of the first kind that would take an item now, if there is one."""
        for kind, idle in self._idle.items():
            if idle and self._shares.most(kind, len(self._queue)):
                self._changed[kind].notify()
                return

    def _fill(self, batch: list[_Entry]) -> float:
        """The share of the largest batch that a batch fills, by its items or its padded size."""
        size = len(batch) * max(entry.size for entry in batch)
        return min(1.0, max(len(batch) / self._max_batch, size / self._max_size))

    def _choose(self, most: int) -> list[_Entry]:
        """Take the smallest items from the queue, or the oldest and its like at its turn."""
        sizes = [entry.size for entry in self._queue]
        groups = buckets(sizes, min(most, self._max_batch), self._max_size)
        oldest = next(group for group in groups if 0 in group)
        chosen = oldest if self._passes >= MAX_PASSES else groups[0]
        self._passes = 0 if chosen is oldest else self._passes + 1
        batch = [self._queue[place] for place in chosen]
        taken = set(chosen)
        self._queue = [entry for place, entry in enumerate(self._queue) if place not in taken]
        return batch

    def _observe(self, batch: list[_Entry], kind: str, took_s: float) -> None:
        """Tell `QueueWait` the time of batches that together were full or emptied the queue."""
        with self._lock:
            self._idle[kind] += 1
            self._shares.observe(kind, sum(entry.size for entry in batch), took_s)
            self._observed += len(batch)
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
