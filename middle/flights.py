"""Single-flight: what is asked for again while it is looked up or made is made once for all."""

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from common.batcher import Awaited
from common.errors import BadRequest, DeadlineExceeded, ServiceError
from common.metrics import CACHE_REQUESTS
from common.origin import ORIGIN
from middle.store import Entry, Generation, Store

LOOKUP, PREDICTION = 0, 1
"""The two slots of a flight: whichever is settled first with a result counts."""
HEAD_START_S = 0.005
"""A cache in this data centre has answered by then; a slow one is not waited for."""


class Task(NamedTuple):
    """How to make what is not kept."""

    predict: Callable[[Awaited, int], None] | None
    """Starts to settle a slot; None: who opened the flight settles it."""
    keep: Callable[[Any], bytes | None]
    """The value to keep of a result or an Exception; None for what must not be kept."""


class Flight:
    """One key's lookup and prediction, side by side, and all who wait for one of them."""

    abandoned = False
    """For batchers: others may join at any time, so only the deadline ends it."""

    def __init__(self, level: "Level", key: str, task: Task, outcome: str) -> None:
        """`outcome` is what it counts as when the prediction begins."""
        self.deadline = 0.0
        """The latest of those who wait."""
        self.origin = ORIGIN.get()
        self._level = level
        self._key = key
        self._task = task
        self._outcome = outcome
        self._waiting: list[tuple[Awaited, int]] = []
        self._looked = threading.Event()
        self._begun = self._ended = False
        self._generation = level.generation.read()

    def add(self, awaited: Awaited, slot: int) -> None:
        """One more who waits; under the level's lock."""
        self.deadline = max(self.deadline, awaited.deadline)
        self._waiting.append((awaited, slot))

    def settle(self, slot: int, result: Any) -> None:
        """Take what the store or the prediction came to."""
        if slot == PREDICTION:
            self._end(result, was_kept=False)
            return
        found = self._level.opened(result)
        if found is None:
            self.begin()
        else:
            self._end(found, was_kept=True)
        self._looked.set()

    def begin(self) -> None:
        """Start the prediction, unless it is under way or not needed any more."""
        with self._level.lock:
            if self._begun or self._ended:
                return
            self._begun = True
        self._level.count(self._outcome)
        if self._task.predict:
            self._task.predict(self, PREDICTION)

    def give_head_start(self, until: float) -> None:
        """Wait for the lookup, but no longer than `until`; then the prediction has begun."""
        if not self._looked.is_set():
            self._looked.wait(max(0.0, until - time.monotonic()))
        self.begin()

    def _end(self, result: Any, *, was_kept: bool) -> None:
        with self._level.lock:
            if self._ended:
                return
            self._ended = True
        if was_kept:
            self._level.count("hit")
        elif (value := self._task.keep(result)) is not None:
            self._level.save(self._key, value, self._generation)
        waiting = self._level.leave(self._key, self, self._waiting)
        for place, (awaited, slot) in enumerate(waiting):
            if place and self._task.predict and is_late(result, awaited):
                self._task.predict(awaited, slot)
            else:
                awaited.settle(slot, result)


class Level:
    """One level of the cache: its entries in the store, and its flights."""

    def __init__(
        self, name: str, store: Store, generation: Generation, read: Callable[[Entry], Any]
    ) -> None:
        """`read` makes a result of an entry; raises DecodeError or BadRequest for what is none."""
        self.lock = threading.Lock()
        self.generation = generation
        self._store = store
        self._read = read
        self._flights: dict[str, Flight] = {}
        outcomes = ("hit", "miss", "join", "bypass")
        self._counts = {outcome: CACHE_REQUESTS.labels(name, outcome) for outcome in outcomes}

    def peek(self, key: str) -> Any:
        """The result for a key, where it is at hand without any waiting; else None."""
        found = self.opened(self._store.peek(key))
        if found is not None:
            self.count("hit")
        return found

    def join(self, key: str, task: Task, awaited: Awaited, slot: int = 0) -> Flight | None:
        """Wait for what is kept or made for a key; a flight that is new, whose caller owes it
        `give_head_start`, else None.
        """
        with self.lock:
            flight = self._flights.get(key)
            if flight:
                flight.add(awaited, slot)
                self.count("join")
                return None
            flight = self._flights[key] = Flight(self, key, task, "miss")
            flight.add(awaited, slot)
        self._store.lookup(key, flight, LOOKUP)
        return flight

    def bypass(self, key: str, task: Task, awaited: Awaited, slot: int = 0) -> Flight:
        """A flight for one alone, without a lookup, for the caller to begin; its result is kept."""
        flight = Flight(self, key, task, "bypass")
        flight.add(awaited, slot)
        return flight

    def leave(
        self, key: str, flight: Flight, waiting: list[tuple[Awaited, int]]
    ) -> list[tuple[Awaited, int]]:
        """Forget a flight, so that nobody joins it any more; returns who waits."""
        with self.lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            return list(waiting)

    def opened(self, entry: Any) -> Any:
        """The result in what a store gave; None where it gave none, or a broken one."""
        try:
            return self._read(entry) if isinstance(entry, Entry) else None
        except (msgspec.DecodeError, BadRequest):
            return None

    def save(self, key: str, value: bytes, generation: bytes) -> None:
        """Keep a value, unless everything was purged since `generation`."""
        if generation == self.generation.read():
            self._store.save(key, value)

    def count(self, outcome: str) -> None:
        """Count a request."""
        self._counts[outcome].inc()


def is_late(result: Any, awaited: Awaited) -> bool:
    """Whether a result tells of somebody else's deadline, and this one's has not come."""
    if not isinstance(result, ServiceError) or result.code != DeadlineExceeded.code:
        return False
    return time.monotonic() < awaited.deadline
