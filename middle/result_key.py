"""The results of queries that the cache keeps, and what a result must be to be kept."""

from typing import NamedTuple

import msgspec

from common.wire import encode
from middle.memory_store import CacheEntry
from middle.messages import Answer

_answers = msgspec.msgpack.Decoder(Answer)


class SearchResult(NamedTuple):
    """An answer, and the digests of the query's model ("" without one) and of the index version."""

    answer: Answer
    digest: str
    version_digest: str
    age_s: float = 0.0
    """The time since the answer was cached."""


class ResultKey(NamedTuple):
    """A query's cache key, and what its answer must have to be kept under the key."""

    key: str
    digest: str
    version_digest: str
    cache_version: str
    position: int = 0
    """The least in the log; a later answer is as good."""

    def fits(self, result: SearchResult) -> bool:
        """Whether a result may be kept: it is whole and not old, and has the key's digests."""
        is_whole = not result.answer.coverage.degraded
        is_new = result.answer.position >= self.position
        return is_whole and is_new and (result.digest, result.version_digest) == self[1:3]


def keep_result(key: ResultKey, result: SearchResult) -> bytes | None:
    """The cache value of a result; None if the result does not fit the key."""
    if not key.fits(result):
        return None
    return encode(msgspec.structs.replace(result.answer, took_ms={}))


def read_result(entry: CacheEntry) -> SearchResult:
    """The result in a cache entry; raises DecodeError."""
    return SearchResult(_answers.decode(entry.value), "", "", entry.age_s)
