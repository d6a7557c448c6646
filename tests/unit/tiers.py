"""A tier of the prediction cache, a store that is far away, and what takes time to make."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from common.cache_epoch import CacheEpoch
from common.config import Middle
from common.errors import BadRequest
from middle.memory_store import CacheEntry, MemoryStore, Store
from middle.prediction_cache import (
    HEAD_START_S,
    CacheOutcome,
    CacheTier,
)
from tests.unit.counting import counted


class RemoteStore:
    """A store that answers after a while."""

    is_remote = True

    def __init__(self, after_s: float = 0.0) -> None:
        self.after_s = after_s
        self.entries: dict[str, bytes] = {}

    def peek(self, _key: str) -> CacheEntry | None:
        return None

    async def find(self, key: str) -> CacheEntry | None:
        await asyncio.sleep(self.after_s)
        return CacheEntry(self.entries[key], 1.0) if key in self.entries else None

    def save(self, key: str, value: bytes) -> None:
        self.entries[key] = value

    async def purge(self, _deadline: float) -> None:
        self.entries.clear()

    async def close(self) -> None:
        pass


class Maker:
    """Makes values after a while, or fails."""

    def __init__(self, after_s: float = 1.0, error: Exception | None = None) -> None:
        self.calls = self.cancelled = 0
        self._after_s, self._error = after_s, error

    async def __call__(self) -> str:
        self.calls += 1
        try:
            await asyncio.sleep(self._after_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error:
            raise self._error
        return f"made {self.calls}"


class Tier:
    """A tier of texts, asked for the key "a"."""

    def __init__(
        self, store: Store | None = None, head_start_s: float | None = HEAD_START_S
    ) -> None:
        self.epoch = CacheEpoch()
        loop = asyncio.get_running_loop()
        self.store = store or MemoryStore(Middle(), self.epoch, loop.time)
        self.tier: CacheTier[str] = CacheTier("unit", self.store, self.epoch, read, head_start_s)

    async def get(
        self,
        make: Callable[[], Coroutine[Any, Any, str]],
        seconds: float = 10.0,
        bypass: bool = False,
    ) -> tuple[str, CacheOutcome]:
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.tier.get("a", make, str.encode, deadline, bypass=bypass)


def read(entry: CacheEntry) -> str:
    if entry.value == b"bad":
        raise BadRequest("bad")
    text: str = msgspec.msgpack.decode(b"\xd9" + bytes([len(entry.value)]) + entry.value)
    return f"kept {text}"


def outcomes() -> dict[str, float]:
    count = partial(counted, "clip_search_cache_requests_total", level="unit")
    return {name: count(outcome=name) for name in ("hit", "miss", "join", "bypass")}
