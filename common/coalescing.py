"""Coalescing on an event loop: dynamic batches, and a single flight for equal keys."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from common.errors import DeadlineExceeded, Overloaded, ServiceError
from common.metrics import BATCH_ITEMS, BATCH_SIZE
from common.queue_wait import QueueWait
from common.request_context import CONTEXT, RequestContext, merge_contexts

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Send = Callable[[list[Item], float], Awaitable[Sequence[Result | Exception]]]
"""Takes a batch's items and their latest deadline; returns a result or an Exception for each, in
order."""


@dataclass(slots=True)
class _Entry:
    item: Any
    deadline: float
    context: RequestContext
    future: "asyncio.Future[Any]"

    def forget(self, done: "asyncio.Future[Any]") -> None:
        """Let the item go, if nobody waits for it."""
        if done.cancelled():
            self.item = None


class Coalescer(Generic[Item, Result]):
    """A dynamic batcher without timers. Belongs to one event loop.

    While a slot is free, an item is sent at once. While all slots are busy, items wait for the next
    batch.
    """

    def __init__(
        self,
        name: str,
        send: Send[Item, Result],
        *,
        slots: int,
        max_batch: int,
        max_queue: int,
        refuse_late: bool = False,
    ) -> None:
        """With `refuse_late`, an item is refused if its estimated wait is too long: `QueueWait`."""
        self.name = name
        self._send = send
        self._free = self._slots = slots
        self._max_batch, self._max_queue = max_batch, max_queue
        self._refuse_late = refuse_late
        self._wait = QueueWait(max_batch, slots)
        self._queue: deque[_Entry] = deque()
        self._senders: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references
        outcomes = ("refused", "abandoned", "expired", "ok", "failed")
        self._counts = {outcome: BATCH_ITEMS.labels(name, outcome) for outcome in outcomes}
        self._sizes = BATCH_SIZE.labels(name)

    def submit(self, item: Item, deadline: float) -> "asyncio.Future[Result]":
        """Queue an item; returns the future of its result.

        `deadline` is on the loop's clock. The future may end in an exception, a ServiceError if the
        item is refused or late. A caller gives up by cancelling the future.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if refusal := self._refusal(deadline - loop.time()):
            self._counts["refused"].inc()
            future.set_exception(refusal)
            return future
        self._queue.append(entry := _Entry(item, deadline, CONTEXT.get(), future))
        if self._free > 0:
            self._free -= 1
            sender = loop.create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        else:  # a caller that gives up takes its image out of the memory
            future.add_done_callback(entry.forget)
        return future

    def set_slots(self, slots: int) -> None:
        """Change how many batches may be in flight; those in flight over the new number finish."""
        self._free += slots - self._slots
        self._slots = self._wait.lanes = slots

    async def wait_sent(self) -> None:
        """Wait until every submitted item has been sent."""
        await asyncio.gather(*self._senders)

    def _refusal(self, left_s: float) -> ServiceError | None:
        waiting = len(self._queue)
        if waiting >= self._max_queue:
            return Overloaded(f"the {self.name} queue is full ({self._max_queue} items)")
        if self._refuse_late and self._wait.is_too_long(waiting, left_s):
            return Overloaded(f"the {self.name} queue is too long for the deadline")
        return None

    async def _send_all(self) -> None:
        await asyncio.sleep(0)  # items of this pass of the loop form one batch
        while self._queue and self._free >= 0:
            if batch := self._take():  # empty: all these callers gave up or were late
                await self._send_batch(batch)
        self._free += 1

    def _take(self) -> list[_Entry]:
        now = asyncio.get_running_loop().time()
        batch: list[_Entry] = []
        while self._queue and len(batch) < self._max_batch:
            entry = self._queue.popleft()
            if entry.future.done():
                self._counts["abandoned"].inc()
            elif entry.deadline <= now:
                self._counts["expired"].inc()
                late = DeadlineExceeded("the deadline passed in the queue")
                entry.future.set_exception(late)
            else:
                batch.append(entry)
        return batch

    async def _send_batch(self, batch: list[_Entry]) -> None:
        """Send a batch and end each of its futures once, even if the send fails."""
        self._sizes.observe(len(batch))
        CONTEXT.set(merge_contexts(entry.context for entry in batch))
        loop = asyncio.get_running_loop()
        began = loop.time()
        results: Sequence[Any]
        try:
            deadline = max(entry.deadline for entry in batch)
            results = await self._send([entry.item for entry in batch], deadline)
            if len(results) != len(batch):
                raise RuntimeError(f"{self.name}: {len(results)} results for {len(batch)} items")
        except Exception as error:  # every future must end
            if not isinstance(error, ServiceError):
                log.exception("a batch of %s failed", self.name)
            results = [error] * len(batch)
        self._wait.observe(loop.time() - began)
        for entry, result in zip(batch, results, strict=True):
            is_failed = isinstance(result, Exception)
            self._counts["failed" if is_failed else "ok"].inc()
            if not entry.future.done():
                (entry.future.set_exception if is_failed else entry.future.set_result)(result)


class _Call(NamedTuple):
    task: "asyncio.Task[Any]"
    deadline: float


class SingleFlight:
    """Shares one call among callers with equal keys; a caller that gives up does not cancel it.

    A call under way is joined only if it has at least half of the caller's time. With less, its
    result may lack what the caller still has time for.
    """

    def __init__(self) -> None:
        self._calls: dict[Hashable, _Call] = {}

    def joins(self, key: Hashable, deadline: float) -> bool:
        """Whether a call for a key is under way that a caller with this deadline joins."""
        if (call := self._calls.get(key)) is None or call.task.done():
            return False
        now = asyncio.get_running_loop().time()
        return call.deadline - now >= (deadline - now) / 2

    async def do(
        self,
        key: Hashable,
        make: Callable[[], Coroutine[Any, Any, Result]],
        deadline: float,
        ends: float | None = None,
    ) -> Result:
        """Join the call under way for an equal key, or call `make`; gives its result or error.

        `ends` is the deadline of `make` itself, if that is another.
        """
        if self.joins(key, deadline):
            task = self._calls[key].task
        else:
            task = asyncio.get_running_loop().create_task(make())
            self._calls[key] = _Call(task, deadline if ends is None else ends)
            task.add_done_callback(lambda done: self._forget(key, done))
        result: Result = await asyncio.shield(task)
        return result

    def _forget(self, key: Hashable, done: "asyncio.Task[Any]") -> None:
        if key in self._calls and self._calls[key].task is done:
            del self._calls[key]
        if not done.cancelled():
            done.exception()  # else asyncio logs that nobody retrieved it
