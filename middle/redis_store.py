"""The store that all middle servers share: a Redis server, skipped for a while after an error."""

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from common.coalescing import Coalescer
from common.config import Middle
from common.errors import ServiceError, Unavailable
from common.loop import within
from middle.memory_store import CacheEntry, StoreName

Result = TypeVar("Result")

log = logging.getLogger(__name__)

PREFIX = "clip-search:1:"
"""The prefix of our keys; the number changes with the format of the values."""
PAUSE_S = 3.0
"""After an error, Redis is skipped for this time."""
WAIT_S = 1.0
CHECK_BYTES = 8


class Limits(NamedTuple):
    """What a store may ask of Redis."""

    timeout_s: float
    """The limit of a command; after it the store pauses."""
    max_batch: int
    max_queue: int
    max_writes: int
    """Values that wait to be written."""


LIMITS: dict[StoreName, Limits] = {
    # A prediction starts long before the timeout, so the timeout only starts the pause.
    # An answer of 1,000 hits has 300 kB, so 77 MB wait at most.
    "answers": Limits(timeout_s=0.05, max_batch=64, max_queue=1024, max_writes=256),
    # 16 values of 2 MiB take 54 ms on loopback, 32 take 114 ms.
    "encodings": Limits(timeout_s=0.2, max_batch=4, max_queue=64, max_writes=8),
}

Write = tuple[str, bytes] | None
"""A key and its value; None deletes all keys."""


class RedisStore:
    """A `memory_store.Store`. Look-ups and writes go in batches, one batch of each at a time.

    Each has connections and pauses of its own: large values delay no small ones.
    """

    is_remote = True

    def __init__(self, url: str, settings: Middle, *, name: StoreName = "answers") -> None:
        """`settings` has the policy and the expiry; Redis limits its size itself (maxmemory)."""
        is_lru = settings.cache_policy == "lru"
        self._expiry_ms = None if is_lru else int(1000 * settings.cache_expiry_s)
        self._renews = settings.cache_policy == "idle"
        limits, self._is_large = LIMITS[name], name == "encodings"
        self._client = Redis.from_url(
            url,
            socket_timeout=limits.timeout_s,
            socket_connect_timeout=limits.timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        prefix = f"{name}-" if self._is_large else ""
        self._lookups: Coalescer[str, CacheEntry | None] = Coalescer(
            f"cache-{prefix}lookups",
            self._read,
            slots=1,
            max_batch=limits.max_batch,
            max_queue=limits.max_queue,
        )
        self._writes: Coalescer[Write, None] = Coalescer(
            f"cache-{prefix}writes",
            self._write,
            slots=1,
            max_batch=limits.max_batch,
            max_queue=limits.max_writes,
        )
        self._paused_until = 0.0
        self._is_refused = False

    def peek(self, _key: str) -> CacheEntry | None:
        """None: a look-up must ask the server."""
        return None

    async def find(self, key: str) -> CacheEntry | None:
        """The entry of a key; None also if the server does not answer."""
        if self._is_paused():
            return None
        try:
            return await self._lookups.submit(key, _now() + WAIT_S)
        except ServiceError:
            return None

    def save(self, key: str, value: bytes) -> None:
        """Store a value soon; the value is lost if Redis fails or the queue is full."""
        if not self._is_paused():
            written = self._writes.submit((key, value), _now() + WAIT_S)
            written.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def purge(self, deadline: float) -> None:
        """Delete all our keys, of all middle servers; raises Unavailable, DeadlineExceeded."""
        await within(deadline, self._writes.submit(None, deadline))

    async def close(self) -> None:
        """Write the waiting values, and close the connections."""
        await self._writes.wait_sent()
        await self._client.aclose()

    async def _run(self, check: Callable[[], Result]) -> Result:
        """Compute checksums: of large values in a thread, as they take 1.5 ms each."""
        return await asyncio.to_thread(check) if self._is_large else check()

    def _is_paused(self) -> bool:
        return _now() < self._paused_until

    async def _read(self, keys: list[str], _deadline: float) -> Sequence[CacheEntry | None]:
        if self._is_paused():
            return [None] * len(keys)
        try:
            values = await self._get(keys)
        except (RedisError, OSError) as error:
            self._pause(error)
            return [None] * len(keys)
        return await self._run(lambda: list(map(checked_value, keys, values)))

    async def _get(self, keys: Sequence[str]) -> list[Any]:
        names = [PREFIX + key for key in keys]
        if not self._renews:
            values: list[Any] = await self._client.mget(names)
            return values
        async with self._client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.getex(name, px=self._expiry_ms)
            return await pipeline.execute(raise_on_error=False)

    async def _write(self, items: list[Write], _deadline: float) -> Sequence[None]:
        """Write in order; writes before the last purge are skipped."""
        start = 1 + max((i for i, item in enumerate(items) if item is None), default=-1)
        try:
            if start:
                await self._delete_all()
            await self._set([item for item in items[start:] if item])
        except (RedisError, OSError) as error:
            self._pause(error)
            raise Unavailable("the cache server does not answer") from None
        return [None] * len(items)

    async def _set(self, items: Sequence[tuple[str, bytes]]) -> None:
        stored = await self._run(lambda: [add_checksum(*item) for item in items])
        async with self._client.pipeline(transaction=False) as pipeline:
            for (key, _), value in zip(items, stored, strict=True):
                pipeline.set(PREFIX + key, value, px=self._expiry_ms)
            replies = await pipeline.execute(raise_on_error=False)
        refusals = [reply for reply in replies if isinstance(reply, Exception)]
        if refusals and not self._is_refused:
            log.warning("the cache server keeps nothing: %s", refusals[0])
        self._is_refused = bool(refusals)

    async def _delete_all(self) -> None:
        names = []
        async for name in self._client.scan_iter(f"{PREFIX}*", count=1000):
            names.append(name)
            if len(names) == 1000:
                await self._client.unlink(*names)
                names = []
        if names:
            await self._client.unlink(*names)

    def _pause(self, error: Exception) -> None:
        log.warning("no cache server for %s s: %s", PAUSE_S, error)
        self._paused_until = _now() + PAUSE_S


def _now() -> float:
    return asyncio.get_running_loop().time()


def add_checksum(key: str, value: bytes) -> bytes:
    """The stored form: checksum, time, value. The checksum reveals other data in Redis."""
    payload = struct.pack("<d", time.time()) + value
    return _check(key, payload) + payload


def checked_value(key: str, stored: Any) -> CacheEntry | None:
    """The entry in a stored value; None unless `add_checksum` made the value for this key."""
    if not isinstance(stored, bytes):
        return None
    check, payload = stored[:CHECK_BYTES], stored[CHECK_BYTES:]
    if len(payload) < 8 or check != _check(key, payload):
        return None
    return CacheEntry(payload[8:], max(0.0, time.time() - struct.unpack("<d", payload[:8])[0]))


def _check(key: str, payload: bytes) -> bytes:
    return blake2b(key.encode() + payload, digest_size=CHECK_BYTES).digest()
