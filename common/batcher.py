"""A batcher: one bounded queue, and workers that take from it whatever waits, together.

Batch while in flight: an idle worker takes an item at once; while all workers are busy the
queue grows, and the next one free takes it whole. No timer, so no latency when it is quiet.
A worker is a thread of its own, so the device that it runs is never entered twice.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from common.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from common.metrics import BATCH_ITEMS, BATCH_SIZE
from common.queue_wait import QueueWait
from common.request_context import CONTEXT, merge_contexts

log = logging.getLogger(__name__)


Run = Callable[[list[Any], float], Sequence[Any]]
"""Takes the items of a batch and their latest deadline; returns a result or an Exception each."""


class Gather:
    """The results that one request awaits together."""

    def __init__(self, slots: int, deadline: float) -> None:
        """`deadline` is on the clock of time.monotonic()."""
        self.deadline = deadline
        self.origin = CONTEXT.get()
        self.abandoned = False
        self._results: list[Any] = [None] * slots
        self._open = set(range(slots))
        self._lock = threading.Lock()
        self._done = threading.Event()

    def set_result(self, slot: int, result: Any) -> None:
        """Give a slot its result, or the Exception that it ended in; the first one counts."""
        with self._lock:
            if slot in self._open:
                self._open.remove(slot)
                self._results[slot] = result
            if not self._open:
                self._done.set()

    def wait(self) -> list[Any]:
        """Wait until all slots are settled or the deadline; what is open then is an Exception."""
        if self._open:
            self._done.wait(max(0.0, self.deadline - time.monotonic()))
        self.abandoned = True
        with self._lock:
            for slot in self._open:
                self._results[slot] = DeadlineExceeded("no answer within the deadline")
            self._open.clear()
        return self._results

    def first(self) -> Any:
        """Wait for the only slot and return its result; raises what it ended in."""
        result = self.wait()[0]
        if isinstance(result, Exception):
            raise result
        return result


class _Entry(NamedTuple):
    item: Any
    gather: Gather
    slot: int


class Batcher:
    """Runs what is submitted in batches; one worker thread for each of `runs`."""

    def __init__(
        self,
        name: str,
        runs: Sequence[Run],
        max_batch: int,
        max_queue: int,
        *,
        refuse_late: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refuse_late`: an item that would probably wait too long is refused at once."""
        self.name = name
        self._refuse_late = refuse_late
        self._now = now
        self._wait = QueueWait(max_batch, len(runs))
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._queue: deque[_Entry] = deque()
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

    def submit(self, item: Any, gather: Gather, slot: int = 0) -> None:
        """Queue `item`; its slot of `gather` is settled in any case, refused at once when full."""
        with self._changed:
            refusal = self._why_not(gather.deadline)
            if refusal is None:
                self._queue.append(_Entry(item, gather, slot))
                self._changed.notify()
                return
        BATCH_ITEMS.labels(self.name, "refused").inc()
        gather.set_result(slot, refusal)

    def _why_not(self, deadline: float) -> ServiceError | None:
        """Why an item cannot be queued now, if so."""
        if self._closed:
            return Unavailable(f"the {self.name} queue is closed")
        waiting = len(self._queue)
        if waiting >= self._max_queue:
            return Overloaded(f"the {self.name} queue is full ({self._max_queue} items)")
        if self._refuse_late and self._wait.is_too_long(waiting, deadline - self._now()):
            return Overloaded(f"the {self.name} queue is too long for the deadline")
        return None

    def close(self) -> None:
        """Take no more, finish what is queued, and end the workers."""
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
            self._wait.observe(self._now() - began)

    def _take(self) -> list[_Entry]:
        """Wait for items and take them; empty once the batcher is closed and drained."""
        batch: list[_Entry] = []
        with self._changed:
            while not batch:
                while not self._queue:
                    if self._closed:
                        return []
                    self._changed.wait()
                while self._queue and len(batch) < self._max_batch:
                    entry = self._queue.popleft()
                    if self._is_live(entry):
                        batch.append(entry)
        return batch

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
        """Run a batch and set_result every item of it, whatever happens."""
        results: Sequence[Any]
        CONTEXT.set(merge_contexts(entry.gather.origin for entry in batch))
        try:
            deadline = max(entry.gather.deadline for entry in batch)
            results = run([entry.item for entry in batch], deadline)
            if len(results) != len(batch):
                raise RuntimeError(f"{self.name}: {len(results)} results for {len(batch)} items")
        except Exception as error:  # the edge of a batch: its items must be settled
            if not isinstance(error, ServiceError):
                log.exception("a batch of %s failed", self.name)
            results = [error] * len(batch)
        failed = sum(isinstance(result, Exception) for result in results)
        BATCH_ITEMS.labels(self.name, "ok").inc(len(batch) - failed)
        BATCH_ITEMS.labels(self.name, "failed").inc(failed)
        for entry, result in zip(batch, results, strict=True):
            entry.gather.set_result(entry.slot, result)


def isolating(run: Run) -> Run:
    """`run`, but when a batch fails its items are run one by one, so that only the culprit does."""

    def run_isolated(items: list[Any], deadline: float) -> Sequence[Any]:
        try:
            return run(items, deadline)
        except Exception as error:  # the edge of a batch
            if len(items) == 1:
                raise
            log.warning("a batch of %d failed, running its items alone: %s", len(items), error)
            return [_alone(run, item, deadline) for item in items]

    return run_isolated


def _alone(run: Run, item: Any, deadline: float) -> Any:
    try:
        return run([item], deadline)[0]
    except Exception as error:  # the edge of an item
        return error
