"""The pipeline of a query: look up, embed, fan out, merge, keep."""

import asyncio
import logging
import time
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from common.config import Config
from common.errors import ServiceError, Unavailable
from common.wire import unpack_rows
from middle.browse import count_values
from middle.cache_keys import ImageFile, cache_version, result_key
from middle.embed import Embedded, Embedder, choose_role
from middle.fan_out import FanOut
from middle.fan_out_result import FanOutResult
from middle.merge import BrokenShard, hits_per_shard, is_complete, merge
from middle.messages import Answer, Hit, Query
from middle.prediction_cache import CacheOutcome, PredictionCache
from middle.result_key import ResultKey, SearchResult, keep_result, read_result
from middle.upstream_state import ABSENT, UpstreamState
from search.browse_messages import CountRequest
from search.messages import MAX_SHARD_HITS, Hits

log = logging.getLogger(__name__)

COPIES = 2
"""So many times the hits that are needed are fetched at first, as some may be copies of others."""


class CachedAnswer(NamedTuple):
    """An answer, its cache outcome, and its age."""

    answer: Answer
    outcome: CacheOutcome
    age_s: float = 0.0
    cache_version: str | None = None
    """The version for others to cache the answer under; None: they must not cache it."""


class Pipeline:
    """Answers queries on one event loop; deadlines are on the loop's clock, time.monotonic()."""

    def __init__(
        self,
        embedder: Embedder,
        fan_out: FanOut,
        cache: PredictionCache,
        state: UpstreamState,
        config: Config,
    ) -> None:
        """The caller closes the parts."""
        self._embedder = embedder
        self._fan_out = fan_out
        self._state = state
        self._cache = cache
        self._tier = cache.tier("result", read_result)
        self._min_coverage = config.middle.min_coverage
        self._ef_search = config.search.ef_search

    def cache_version(self) -> str | None:
        """Names all that answers depend on, beside their queries; None while a part is unknown."""
        index = self._state.index()
        if index is None or self._tier is None:
            return None
        models = self._state.digest("clip"), self._state.digest("mclip")
        about = *index, *models, self._ef_search, self._state.position()
        return cache_version(self._cache.epoch(), *about)

    def key_of(self, query: Query, image: ImageFile | None) -> ResultKey | None:
        """The key of a query with normal text; None while a digest or the version is unknown."""
        version, index = self.cache_version(), self._state.index()  # in this order
        digest = ""
        models: tuple[str, ...] = ("",)
        if query.text is not None or image is not None:
            role = "clip" if query.text is None else choose_role(query.text, query.model)
            chosen, clip = self._state.digest(role), self._state.digest("clip")
            if chosen is None or clip is None:
                return None
            digest = clip if chosen == ABSENT else chosen
            models = (chosen, clip) if chosen == ABSENT else (chosen,)
        if index is None or version is None:
            return None
        position = max(query.min_position, self._state.position())
        query = msgspec.structs.replace(query, min_position=0)
        key = result_key(query, image, *index, *models, self._ef_search, position)
        return ResultKey(key, digest, index.version_digest, version, position)

    def peek(self, key: ResultKey) -> CachedAnswer | None:
        """The answer for a key in this process's memory; from any thread."""
        started = time.perf_counter()
        kept = self._tier.peek(key.key) if self._tier else None
        return _as_own(kept, "hit", started, key.cache_version) if kept else None

    async def answer(
        self,
        query: Query,
        image: ImageFile | None,
        key: ResultKey | None,
        deadline: float,
        *,
        bypass: bool = False,
    ) -> CachedAnswer:
        """Answer a checked query; with `bypass`, nothing is from the cache.

        `image` is the query's image. Raises a ServiceError.
        """
        started = time.perf_counter()
        search = partial(self._search, query, image, deadline, bypass)
        if self._tier is None or key is None:
            if self._tier:
                self._tier.count("bypass")
            return CachedAnswer((await search()).answer, "bypass")
        result, outcome = await self._tier.get(
            key.key, search, partial(keep_result, key), deadline, bypass=bypass
        )
        if result.answer.position < query.min_position:  # joined one that did not wait for it
            return CachedAnswer((await search()).answer, "bypass")
        version = key.cache_version if outcome == "hit" or key.fits(result) else None
        if outcome in ("hit", "join"):
            return _as_own(result, outcome, started, version)
        return CachedAnswer(result.answer, outcome, cache_version=version)

    async def _search(
        self, query: Query, image: ImageFile | None, deadline: float, bypass: bool
    ) -> SearchResult:
        """The hits of a query; beside them its facets, which do not depend on its vector."""
        least = 1.0 if query.require_full else self._min_coverage
        searching = self._search_hits(query, image, least, deadline, bypass)
        if not query.facets:
            return await searching
        started = time.perf_counter()
        message = CountRequest(query.facets, query.filter, min_position=query.min_position)
        counting = count_values(self._fan_out, message, deadline)
        result, (counted, facets) = await asyncio.gather(searching, counting)
        counted.check(least)
        answer = result.answer
        coverages = answer.coverage, counted.coverage
        answer = msgspec.structs.replace(
            answer,
            coverage=min(coverages, key=lambda coverage: coverage.fraction),
            position=min(answer.position, counted.position),
            took_ms={**answer.took_ms, "total": _ms(time.perf_counter() - started)},
            facets=facets,
        )
        # If an index was swapped in between, the answer is of no version that it could be kept for.
        is_same = counted.version_digest == result.version_digest
        return SearchResult(answer, result.digest, result.version_digest if is_same else "")

    async def _search_hits(
        self, query: Query, image: ImageFile | None, least: float, deadline: float, bypass: bool
    ) -> SearchResult:
        """Embed a query, ask all shards, and merge their hits; `least` must be covered."""
        started = time.perf_counter()
        embedded = await self._embed(query, image, deadline, bypass)
        embedded_at = time.perf_counter()
        found, hits = await self._find(query, embedded, deadline)
        found.check(least)
        ended = time.perf_counter()
        took_ms = {
            "embed": _ms(embedded_at - started),
            "search": _ms(ended - embedded_at),
            "total": _ms(ended - started),
        }
        warnings = list(embedded.warnings)
        version, position = found.version, min(found.position, embedded.position)
        answer = Answer(hits, found.coverage, version, position, embedded.model, took_ms, warnings)
        return SearchResult(answer, embedded.digest, found.version_digest)

    async def _embed(
        self, query: Query, image: ImageFile | None, deadline: float, bypass: bool
    ) -> Embedded:
        """The vector to search for."""
        if query.id is not None:
            like = await self._fan_out.lookup(query.id, deadline, query.min_position)
            vector = unpack_rows(like.vector, like.dim)[0]
            return Embedded(vector, like.space, position=like.position)
        if query.embedding is not None:
            vector = np.array(query.embedding, dtype=np.float64)
            return Embedded((vector / np.linalg.norm(vector)).astype(np.float32))
        if image is not None:
            (result,) = await self._embedder.images([image], deadline, bypass=bypass)
        else:
            texts = [query.text or ""]
            (result,) = await self._embedder.texts(texts, query.model, deadline, bypass=bypass)
        if isinstance(result, ServiceError):
            raise result
        return result

    async def _find(
        self, query: Query, embedded: Embedded, deadline: float
    ) -> tuple[FanOutResult[Hits], list[Hit]]:
        """Ask each shard for a share of the hits, and again for more if the share was too small."""
        wanted = query.k + (query.id is not None)  # its own image is found, then left out
        fetch, most = hits_per_shard(wanted, self._fan_out.shard_count), COPIES * wanted
        last: tuple[FanOutResult[Hits], list[Hit]] | None = None
        while True:
            try:
                found = await self._fan_out.search(
                    embedded.vector, fetch, most, deadline, query.filter, query.min_position
                )
            except ServiceError as error:
                if embedded.space and error.code == "wrong_length":  # the vector is of our model
                    raise _mismatch() from None
                if last and isinstance(error, Unavailable) and last[0].coverage.degraded:
                    return last  # a shard hung until the deadline: the earlier answer
                raise
            if embedded.space and found.space != embedded.space:
                raise _mismatch()
            found, hits = last = _merge(query, found)
            is_whole = is_complete(found.shards, fetch, hits, query.k, query.min_score)
            if is_whole or fetch == MAX_SHARD_HITS:
                return found, hits
            fetch = min(MAX_SHARD_HITS, 4 * fetch)
            most = fetch * self._fan_out.shard_count


def _merge(query: Query, found: FanOutResult[Hits]) -> tuple[FanOutResult[Hits], list[Hit]]:
    """The fan-out result without shards whose records cannot be read, and the merged hits."""
    while True:
        try:
            return found, merge(found.shards, query.k, query.dedup, query.min_score, query.id)
        except BrokenShard as broken:
            log.warning("%s", broken)
            found = found.without(broken.shard)


def _as_own(
    result: SearchResult, outcome: CacheOutcome, started: float, version: str | None
) -> CachedAnswer:
    """The answer for one of several queries that share a result, with its own times."""
    took_ms = {"embed": 0.0, "search": 0.0, "total": _ms(time.perf_counter() - started)}
    answer = msgspec.structs.replace(result.answer, took_ms=took_ms)
    return CachedAnswer(answer, outcome, result.age_s, version)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _mismatch() -> Unavailable:
    return Unavailable(
        "the index was made with another model than the inference server has now: run prepare "
        "again and start the search servers anew, or put the model back (TorchServe: python "
        "inference/archive.py, and start it anew)",
        "model_mismatch",
    )
