"""The answer cache of front: for up to a minute, a frequent query is answered without middle.

The cache version of a middle server names all that answers depend on beside the query: the index
version, the models, the purges so far. Front asks each middle server for its cache version twice a
second. A kept answer is valid while a middle server still has the answer's cache version.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

import msgspec
from cachetools import TLRUCache

from common.cache_epoch import CacheEpoch
from common.config import Config
from common.http_client import Reply
from common.metrics import CACHE_REQUESTS
from common.wire import CACHE_VERSION_HEADER, encode
from front.known_ids import Mark
from front.query import SearchQuery
from middle.client import MiddleClient

POLL_S = 0.5
MAX_AGE_S = 60.0
"""A frequent query must reach middle this often, so that middle's own cache keeps its answer."""
ENTRY_BYTES = 2000
"""The memory of an entry beside its body: dicts, keys, and a view of each field."""
KEY_BYTES = 16

log = logging.getLogger(__name__)


class KeptAnswer(NamedTuple):
    """The fields of an answer as JSON, its cache version, when it came, and its age then."""

    fields: dict[str, msgspec.Raw]
    cache_version: str
    size_bytes: int
    came_at: float
    age_s: int
    expires_at: float

    def body(self, request_id: str, started: float) -> bytes:
        """The answer for a request that came at `started`, as JSON."""
        took_ms = {
            "embed": 0.0,
            "search": 0.0,
            "total": round(1000 * (time.monotonic() - started), 3),
        }
        own = {"took_ms": took_ms, "request_id": request_id}
        return msgspec.json.encode({**self.fields, **own})


class AnswerCache:
    """The kept answers of this process, up to a number of bytes; any thread may use them."""

    def __init__(
        self, config: Config, epoch: CacheEpoch, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`epoch` is shared with the other worker processes of front."""
        absolute = config.middle.cache_policy == "absolute"
        self._expiry_s = config.middle.cache_expiry_s if absolute else math.inf
        self._now = now
        self._epoch = epoch
        self._seen = epoch.read()
        self._lock = threading.Lock()
        self._cache_versions: frozenset[str] = frozenset()
        self._answers: TLRUCache[bytes, KeptAnswer] = TLRUCache(
            config.front.answer_cache_bytes,
            lambda _key, answer, _now: answer.expires_at,
            now,
            lambda answer: answer.size_bytes,
        )
        self._hits = CACHE_REQUESTS.labels("front", "hit")
        self._misses = CACHE_REQUESTS.labels("front", "miss")
        self._watching: asyncio.Task[None] | None = None

    async def start(self, client: MiddleClient) -> None:
        """Start asking the middle servers for their cache versions, on this event loop."""
        self._watching = asyncio.create_task(self._watch(client))

    async def close(self) -> None:
        """Stop asking for cache versions."""
        if self._watching:
            self._watching.cancel()

    def get(self, key: bytes) -> KeptAnswer | None:
        """The kept answer of a query, if it is still valid."""
        with self._lock:
            if self._seen != (epoch := self._epoch.read()):
                self._seen = epoch
                self._answers.clear()
            answer = self._answers.get(key)
        is_valid = answer is not None and answer.cache_version in self._cache_versions
        (self._hits if is_valid else self._misses).inc()
        return answer if is_valid else None

    def keep(self, key: bytes, reply: Reply, epoch: bytes) -> None:
        """Keep middle's reply if it has a cache version: without one it must not be kept.

        `epoch` was read before middle was asked. A reply from before a purge is not kept.
        """
        cache_version = reply.headers.get(CACHE_VERSION_HEADER)
        if not cache_version:
            return
        now, age_s = self._now(), int(reply.headers.get("Age", 0))
        expires_at = now + min(MAX_AGE_S, self._expiry_s - age_s)
        fields = msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw])
        size_bytes = ENTRY_BYTES + len(reply.body)
        answer = KeptAnswer(fields, cache_version, size_bytes, now, age_s, expires_at)
        with self._lock:
            if epoch == self._epoch.read() and size_bytes <= self._answers.maxsize:
                self._answers[key] = answer

    def age_s(self, answer: KeptAnswer) -> int:
        """The age of an answer, in seconds."""
        return answer.age_s + int(self._now() - answer.came_at)

    def epoch(self) -> bytes:
        """The mark that changes with each purge."""
        return self._epoch.read()

    def mark(self) -> Mark:
        """What changes when the index may have changed, and each minute; None: not known."""
        if not self._cache_versions:
            return None
        return self._epoch.read(), self._cache_versions, int(self._now() / MAX_AGE_S)

    def purge(self) -> None:
        """Forget all answers, in all worker processes."""
        self._epoch.change()

    async def _watch(self, client: MiddleClient) -> None:
        while True:
            try:
                self._cache_versions = frozenset(await client.cache_versions())
            except Exception:  # the edge of a task: kept answers must not count for ever
                log.exception("the middle servers cannot be asked for their cache versions")
                self._cache_versions = frozenset()
            await asyncio.sleep(POLL_S)


def answer_key(query: SearchQuery) -> bytes | None:
    """The key of a query. None for an image, which only middle hashes.

    None also for an image_url, as its image may change.
    """
    if query.image is not None or query.image_url is not None:
        return None
    return blake2b(encode(query), digest_size=KEY_BYTES).digest()
