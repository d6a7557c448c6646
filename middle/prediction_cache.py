"""The prediction cache: its store, and its tiers with a single flight for each key."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, Literal, TypeVar, get_args

from common.cache_epoch import CacheEpoch
from common.coalescing import SingleFlight
from common.config import Middle
from common.errors import BadRequest, DeadlineExceeded, ServiceError
from common.loop import within
from common.metrics import CACHE_REQUESTS
from common.wire import UNREADABLE
from middle.memory_store import CacheEntry, MemoryStore, Store, StoreName

HEAD_START_S = 0.005
"""A prediction waits this long for the cache server. A server in the same data centre is faster."""

JOIN_GRACE_S = 0.05
"""The time after its deadline that a query still waits for an equal query under way.

If a shard hangs, the query under way ends at its own deadline with a degraded answer, and most have
nearly the same deadline. Front waits twice as long (`middle.client.GRACE_S`)."""

CacheOutcome = Literal["hit", "miss", "join", "bypass"]
Result = TypeVar("Result")
Make = Callable[[], Coroutine[Any, Any, Result]]
Keep = Callable[[Result], bytes | None]
"""The cache value of a result; None if the result must not be kept."""


class PredictionCache:
    """The configured stores, and the tiers in them."""

    def __init__(self, settings: Middle, epoch: CacheEpoch) -> None:
        """Belongs to one event loop; opens nothing."""
        self._epoch = epoch
        self._stores = _create_stores(settings, epoch)

    def tier(self, name: str, read: Callable[[CacheEntry], Result]) -> "CacheTier[Result] | None":
        """A tier of the cache; None if the cache is off."""
        store = self._stores.get("answers")
        return CacheTier(name, store, self._epoch, read) if store else None

    def slow_tier(
        self, name: str, read: Callable[[CacheEntry], Result]
    ) -> "CacheTier[Result] | None":
        """A tier of large entries that take seconds to make; None if the cache is off."""
        store = self._stores.get("encodings")
        return CacheTier(name, store, self._epoch, read, head_start_s=None) if store else None

    def epoch(self) -> bytes:
        """The current mark of the cache epoch, which changes with each purge."""
        return self._epoch.read()

    async def purge(self, deadline: float) -> None:
        """Delete all entries in all workers; raises Unavailable or DeadlineExceeded."""
        self._epoch.change()  # first, so that results under way are not kept
        await asyncio.gather(*(store.purge(deadline) for store in self._stores.values()))

    async def close(self) -> None:
        """Write the waiting values, and close the connections."""
        for store in self._stores.values():
            await store.close()


def _create_stores(settings: Middle, epoch: CacheEpoch) -> dict[StoreName, Store]:
    names = get_args(StoreName)
    if settings.cache == "off":
        return {}
    if settings.cache == "memory":
        return {name: MemoryStore(settings, epoch, name=name) for name in names}
    from middle.redis_store import RedisStore  # its package takes 0.1 s to import

    return {name: RedisStore(settings.cache, settings, name=name) for name in names}


class CacheTier(Generic[Result]):
    """The entries of one kind. A missing entry is made once for all callers at the same time."""

    def __init__(
        self,
        name: str,
        store: Store,
        epoch: CacheEpoch,
        read: Callable[[CacheEntry], Result],
        head_start_s: float | None = HEAD_START_S,
    ) -> None:
        """`read` decodes an entry; it raises one of UNREADABLE or BadRequest for a broken entry.

        A prediction waits for a look-up for `head_start_s`; None: it waits for the end.
        """
        self._head_start_s = head_start_s
        self._store = store
        self._epoch = epoch
        self._read = read
        self._flights = SingleFlight()
        outcomes: tuple[CacheOutcome, ...] = ("hit", "miss", "join", "bypass")
        self._counts = {outcome: CACHE_REQUESTS.labels(name, outcome) for outcome in outcomes}

    def count(self, outcome: CacheOutcome) -> None:
        """Count a look-up by its outcome."""
        self._counts[outcome].inc()

    def peek(self, key: str) -> Result | None:
        """The result of a key if it is there without a wait; from any thread."""
        found = self._opened(self._store.peek(key))
        if found is not None:
            self.count("hit")
        return found

    async def get(
        self, key: str, make: Make[Result], keep: Keep[Result], deadline: float, *, bypass: bool
    ) -> tuple[Result, CacheOutcome]:
        """The result of a key: kept, from a call under way, or made now; with `bypass`, made now.

        `make` must end by the deadline itself, since only `make` has a partial result. Raises the
        error of `make`, or DeadlineExceeded if the call under way takes too long.
        """
        if bypass:
            self.count("bypass")
            return await self._make(key, make, keep, self._epoch.read()), "bypass"
        if (found := self.peek(key)) is not None:
            return found, "hit"
        find = partial(self._find_or_make, key, make, keep)
        # Who asks again finds a slow result that is still being made, or kept.
        ends = math.inf if self._head_start_s is None else None
        flight = self._flights.do(key, find, deadline, ends)
        if not self._flights.joins(key, deadline):
            result, is_kept = await flight
            return result, "hit" if is_kept else "miss"
        self.count("join")
        try:
            result, is_kept = await within(deadline + JOIN_GRACE_S, flight)
        except ServiceError as error:
            is_early = asyncio.get_running_loop().time() < deadline
            if not is_early or error.code != DeadlineExceeded.code:
                raise
            # the query that started the call had an earlier deadline: ask again
            return await self.get(key, make, keep, deadline, bypass=False)
        return result, "hit" if is_kept else "join"

    async def _find_or_make(
        self, key: str, make: Make[Result], keep: Keep[Result]
    ) -> tuple[Result, bool]:
        """The result, and whether it was kept. After the look-up's head start, `make` runs, too."""
        epoch = self._epoch.read()
        if not self._store.is_remote:
            self.count("miss")
            return await self._make(key, make, keep, epoch), False
        finding = asyncio.ensure_future(self._store.find(key))
        await asyncio.wait([finding], timeout=self._head_start_s)
        if finding.done() and (found := self._found(finding.result())) is not None:
            return found, True
        self.count("miss")
        making = asyncio.create_task(self._make(key, make, keep, epoch))
        try:
            await asyncio.wait([finding, making], return_when=asyncio.FIRST_COMPLETED)
            is_made = making.done() and making.exception() is None
            if not is_made and (found := self._found(await finding)) is not None:
                return found, True
            return await making, False
        finally:
            making.cancel()

    async def _make(self, key: str, make: Make[Result], keep: Keep[Result], epoch: bytes) -> Result:
        """Make a result and keep it, unless the cache was purged since `epoch`."""
        result = await make()
        if epoch == self._epoch.read() and (value := keep(result)) is not None:
            self._store.save(key, value)
        return result

    def _found(self, entry: CacheEntry | None) -> Result | None:
        """The result in what the store has answered."""
        if (found := self._opened(entry)) is not None:
            self.count("hit")
        return found

    def _opened(self, entry: CacheEntry | None) -> Result | None:
        """The result in an entry; None without an entry or for a broken entry."""
        try:
            return self._read(entry) if entry else None
        except (*UNREADABLE, BadRequest):
            return None
