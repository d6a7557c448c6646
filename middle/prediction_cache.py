"""The prediction cache: its store, and its tiers, in which nothing is made twice at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from common.cache_epoch import CacheEpoch
from common.coalescing import SingleFlight
from common.config import Middle
from common.errors import BadRequest, DeadlineExceeded, ServiceError
from common.loop import within
from common.metrics import CACHE_REQUESTS
from common.wire import UNREADABLE
from middle.memory_store import CacheEntry, MemoryStore, Store

HEAD_START_S = 0.005
"""A cache server in this data centre has answered by then; a slow one is not waited for."""

JOIN_GRACE_S = 0.05
"""How long beyond its deadline a query waits for the answer to an equal one: that begins, and ends,
at about the same time, and where a shard hangs it ends at its deadline, with what the others found.
Front waits twice as long."""

CacheOutcome = Literal["hit", "miss", "join", "bypass"]
Result = TypeVar("Result")
Make = Callable[[], Coroutine[Any, Any, Result]]
Keep = Callable[[Result], bytes | None]
"""The value to keep of a result; None for what must not be kept."""


class PredictionCache:
    """The store that the configuration names, and the tiers in it."""

    def __init__(self, settings: Middle, epoch: CacheEpoch) -> None:
        """Belongs to one event loop; nothing is opened here."""
        self._epoch = epoch
        self._store = _create_store(settings, epoch)

    def tier(self, name: str, read: Callable[[CacheEntry], Result]) -> "CacheTier[Result] | None":
        """A tier of the cache; None when there is no cache."""
        return CacheTier(name, self._store, self._epoch, read) if self._store else None

    def epoch(self) -> bytes:
        """The mark that changes with each purge."""
        return self._epoch.read()

    async def purge(self, deadline: float) -> None:
        """Forget everything, in all workers; raises Unavailable or DeadlineExceeded."""
        self._epoch.change()  # first: what is under way now will not be kept
        if self._store:
            await self._store.purge(deadline)

    async def close(self) -> None:
        """Write what waits and close the connections."""
        if self._store:
            await self._store.close()


def _create_store(settings: Middle, epoch: CacheEpoch) -> Store | None:
    if settings.cache == "off":
        return None
    if settings.cache == "memory":
        return MemoryStore(settings, epoch)
    from middle.redis_store import RedisStore  # its package takes 0.1 s to import

    return RedisStore(settings.cache, settings)


class CacheTier(Generic[Result]):
    """The entries of one kind in the store: what is missing is made, once for all who ask."""

    def __init__(
        self, name: str, store: Store, epoch: CacheEpoch, read: Callable[[CacheEntry], Result]
    ) -> None:
        """`read` makes a result of an entry; raises one of UNREADABLE or BadRequest for none."""
        self._store = store
        self._epoch = epoch
        self._read = read
        self._flights = SingleFlight()
        outcomes: tuple[CacheOutcome, ...] = ("hit", "miss", "join", "bypass")
        self._counts = {outcome: CACHE_REQUESTS.labels(name, outcome) for outcome in outcomes}

    def count(self, outcome: CacheOutcome) -> None:
        """Count a request."""
        self._counts[outcome].inc()

    def peek(self, key: str) -> Result | None:
        """The result of a key, where it is at hand without any waiting; from any thread."""
        found = self._opened(self._store.peek(key))
        if found is not None:
            self.count("hit")
        return found

    async def get(
        self, key: str, make: Make[Result], keep: Keep[Result], deadline: float, *, bypass: bool
    ) -> tuple[Result, CacheOutcome]:
        """What is kept for a key, or is being made, or is made now; with `bypass` made anew.

        `make` ends by the deadline itself, as only it knows what there is by then. Raises what
        `make` raises; DeadlineExceeded where another's would take longer.
        """
        if bypass:
            self.count("bypass")
            return await self._make(key, make, keep, self._epoch.read()), "bypass"
        if (found := self.peek(key)) is not None:
            return found, "hit"
        find = partial(self._find_or_make, key, make, keep)
        if key not in self._flights:
            result, is_kept = await self._flights.do(key, find)
            return result, "hit" if is_kept else "miss"
        self.count("join")
        try:
            joined = self._flights.do(key, find)
            result, is_kept = await within(deadline + JOIN_GRACE_S, joined)
        except ServiceError as error:
            is_early = asyncio.get_running_loop().time() < deadline
            if not is_early or error.code != DeadlineExceeded.code:
                raise
            # the deadline of the query that began it was earlier than ours
            return await self.get(key, make, keep, deadline, bypass=False)
        return result, "hit" if is_kept else "join"

    async def _find_or_make(
        self, key: str, make: Make[Result], keep: Keep[Result]
    ) -> tuple[Result, bool]:
        """The result, and whether it was kept: the store has a head start, then both go on."""
        epoch = self._epoch.read()
        if not self._store.is_remote:
            self.count("miss")
            return await self._make(key, make, keep, epoch), False
        finding = asyncio.ensure_future(self._store.find(key))
        await asyncio.wait([finding], timeout=HEAD_START_S)
        if (found := self._found(finding)) is not None:
            return found, True
        self.count("miss")
        making = asyncio.create_task(self._make(key, make, keep, epoch))
        try:
            await asyncio.wait([finding, making], return_when=asyncio.FIRST_COMPLETED)
            if not making.done() and (found := self._found(finding)) is not None:
                return found, True
            return await making, False
        finally:
            making.cancel()

    async def _make(self, key: str, make: Make[Result], keep: Keep[Result], epoch: bytes) -> Result:
        """Make a result and keep it, unless everything was purged since `epoch`."""
        result = await make()
        if epoch == self._epoch.read() and (value := keep(result)) is not None:
            self._store.save(key, value)
        return result

    def _found(self, finding: "asyncio.Future[CacheEntry | None]") -> Result | None:
        """The result that the store gave, if it did by now."""
        found = self._opened(finding.result()) if finding.done() else None
        if found is not None:
            self.count("hit")
        return found

    def _opened(self, entry: CacheEntry | None) -> Result | None:
        """The result in an entry; None where there is none, or a broken one."""
        try:
            return self._read(entry) if entry else None
        except (*UNREADABLE, BadRequest):
            return None
