"""The store that all middle servers share: a Redis server, left alone while it does not answer."""

import logging
import struct
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from common.batcher import Awaited, Batcher, Gather
from common.config import Middle
from common.errors import Unavailable
from middle.store import Entry

log = logging.getLogger(__name__)

PREFIX = "clip-search:1:"
"""Of all our keys; the number changes with what the values look like."""
TIMEOUT_S = 0.05
"""A prediction is under way long before, so this only says when to leave the server alone."""
PAUSE_S = 3.0
"""How long it is left alone."""
MAX_BATCH = 64
MAX_WAITING = 1024
MAX_WRITES = 256
"""An answer of 1,000 hits has 300 kB: 77 MB wait at most. More are not kept."""
WRITE_S = 1.0
CHECK_BYTES = 8

Write = tuple[str, bytes] | None
"""None is the wish to delete everything."""


class RedisStore:
    """A `store.Store`; lookups and writes each have a line, on which they go in batches."""

    def __init__(self, url: str, how: Middle) -> None:
        """`how` has the policy and the expiry; the size is the server's business (maxmemory)."""
        self._expiry_ms = None if how.cache_policy == "lru" else int(1000 * how.cache_expiry_s)
        self._renews = how.cache_policy == "idle"
        self._client = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._lookups = Batcher("cache-lookups", [self._read], MAX_BATCH, MAX_WAITING)
        self._writes = Batcher("cache-writes", [self._write], MAX_BATCH, MAX_WRITES)
        self._paused_until = 0.0
        self._refused = False

    def start(self) -> None:
        """Start the lines; call it after the process has forked."""
        self._lookups.start()
        self._writes.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        self._lookups.close()
        self._writes.close()
        self._client.close()

    def peek(self, _key: str) -> Entry | None:
        """None: a server has to be asked."""
        return None

    def lookup(self, key: str, awaited: Awaited, slot: int) -> None:
        """Settle a slot with the Entry of a key; with None or an Exception when there is none."""
        if self._is_paused():
            awaited.settle(slot, None)
        else:
            self._lookups.submit(key, awaited, slot)

    def save(self, key: str, value: bytes) -> None:
        """Keep a value, some time soon and if nothing is wrong."""
        if not self._is_paused():
            self._writes.submit((key, value), Gather(1, time.monotonic() + WRITE_S))

    def purge(self, deadline: float) -> None:
        """Delete all our keys, of all middle servers; raises Unavailable, DeadlineExceeded."""
        gather = Gather(1, deadline)
        self._writes.submit(None, gather)
        gather.first()

    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _read(self, keys: list[str], _deadline: float) -> Sequence[Entry | None]:
        if self._is_paused():
            return [None] * len(keys)
        try:
            values = self._get(keys)
        except (RedisError, OSError) as error:
            self._pause(error)
            return [None] * len(keys)
        return [unseal(key, value) for key, value in zip(keys, values, strict=True)]

    def _get(self, keys: Sequence[str]) -> list[Any]:
        names = [PREFIX + key for key in keys]
        if not self._renews:
            values: list[Any] = self._client.mget(names)
            return values
        with self._client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.getex(name, px=self._expiry_ms)
            return pipeline.execute(raise_on_error=False)

    def _write(self, items: list[Write], _deadline: float) -> Sequence[None]:
        """Write in order: what comes before the last purge need not be written."""
        start = 1 + max((i for i, item in enumerate(items) if item is None), default=-1)
        try:
            if start:
                self._delete_all()
            self._set([item for item in items[start:] if item])
        except (RedisError, OSError) as error:
            self._pause(error)
            raise Unavailable("the cache server does not answer") from None
        return [None] * len(items)

    def _set(self, items: Sequence[tuple[str, bytes]]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for key, value in items:
                pipeline.set(PREFIX + key, seal(key, value), px=self._expiry_ms)
            replies = pipeline.execute(raise_on_error=False)
        refusals = [reply for reply in replies if isinstance(reply, Exception)]
        if refusals and not self._refused:
            log.warning("the cache server keeps nothing: %s", refusals[0])
        self._refused = bool(refusals)

    def _delete_all(self) -> None:
        names = []
        for name in self._client.scan_iter(f"{PREFIX}*", count=1000):
            names.append(name)
            if len(names) == 1000:
                self._client.unlink(*names)
                names = []
        if names:
            self._client.unlink(*names)

    def _pause(self, error: Exception) -> None:
        log.warning("no cache server for %s s: %s", PAUSE_S, error)
        self._paused_until = time.monotonic() + PAUSE_S


def seal(key: str, value: bytes) -> bytes:
    """A value with the time and a digest before it: whatever else stands in Redis is none."""
    payload = struct.pack("<d", time.time()) + value
    return _check(key, payload) + payload


def unseal(key: str, sealed: Any) -> Entry | None:
    """What `seal` made for this key, else None."""
    if not isinstance(sealed, bytes):
        return None
    check, payload = sealed[:CHECK_BYTES], sealed[CHECK_BYTES:]
    if len(payload) < 8 or check != _check(key, payload):
        return None
    return Entry(payload[8:], max(0.0, time.time() - struct.unpack("<d", payload[:8])[0]))


def _check(key: str, payload: bytes) -> bytes:
    return blake2b(key.encode() + payload, digest_size=CHECK_BYTES).digest()
