"""One query, from what was asked to the hits: embed, fan out, merge."""

import logging
import time
from typing import NamedTuple

import numpy as np

from common.errors import ServiceError, Unavailable
from common.wire import unpack_rows
from middle.embedder import Embedded, Embedder, Then
from middle.fan_out import FannedOut, FanOut, Sent
from middle.merge import BrokenShard, is_complete, merge, share
from middle.messages import Answer, EmbedAnswer, EmbedQuery, Hit, Image, Info, Query
from search.messages import MAX_K

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """An answer; the digest of what embedded the query, "" for nothing; the seal of the index."""

    answer: Answer
    digest: str
    seal: str


class Searcher:
    """Answers queries with an inference server and the search servers."""

    def __init__(self, embedder: Embedder, fan_out: FanOut, min_coverage: float) -> None:
        """`min_coverage` is the share of the shards under which there is no answer."""
        self._embedder = embedder
        self._fan_out = fan_out
        self._min_coverage = min_coverage

    def start(self) -> None:
        """Start the threads that send; call it after the process has forked."""
        self._embedder.start()
        self._fan_out.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        self._embedder.close()
        self._fan_out.close()

    def answer(self, query: Query, deadline: float, *, fresh: bool = False) -> Made:
        """Answer a checked query, with `fresh` by no kept embedding; raises a ServiceError.

        `deadline` is on time.monotonic().
        """
        started = time.perf_counter()
        # the image itself is found, then left out
        fetch = share(query.k + (query.id is not None), self._fan_out.shard_count)
        sent: list[Sent] = []
        embedded = self._embed(
            query,
            deadline,
            fresh,
            lambda vector: sent.append(self._fan_out.send(vector, fetch, deadline)),
        )
        embedded_at = time.perf_counter()
        found, hits = self._find(query, embedded, sent[0])
        self._check_coverage(query, found)
        ended = time.perf_counter()
        took_ms = {
            "embed": _ms(embedded_at - started),
            "search": _ms(ended - embedded_at),
            "total": _ms(ended - started),
        }
        warnings = list(embedded.warnings)
        answer = Answer(hits, found.coverage, found.version, embedded.model, took_ms, warnings)
        return Made(answer, embedded.digest, found.seal)

    def embed(self, query: EmbedQuery, deadline: float, *, fresh: bool = False) -> EmbedAnswer:
        """Embed checked inputs; raises the error of the first that fails, naming its place."""
        if query.texts:
            results = self._embedder.texts(query.texts, query.model, deadline, fresh=fresh)
        else:
            results = self._embedder.images(query.images, deadline, fresh=fresh)
        answer = EmbedAnswer([], "")
        for place, result in enumerate(results):
            if isinstance(result, ServiceError):
                raise ServiceError(f"input {place}: {result.detail}", result.code, result.status)
            answer.embeddings.append(result.vector.tolist())
            answer.model = result.model or ""
            answer.warnings += [f"input {place}: {warning}" for warning in result.warnings]
        return answer

    def image(self, image_id: str, deadline: float) -> Image:
        """What is known of an indexed image; raises a ServiceError."""
        record = self._fan_out.lookup(image_id, deadline).record
        return Image(image_id, record.path, record.metadata)

    def info(self, deadline: float) -> Info:
        """What can be searched; raises a ServiceError."""
        info = self._fan_out.info(deadline)
        return Info(info.images, info.version, info.model, info.dim, info.shard_count)

    def why_not_ready(self, deadline: float) -> str | None:
        """None when the servers behind can be reached, else what is missing."""
        if not self._embedder.is_alive():
            return "the inference server does not answer"
        try:
            self._fan_out.info(deadline)
        except ServiceError as error:
            return error.detail
        return None

    def _embed(self, query: Query, deadline: float, fresh: bool, then: Then) -> Embedded:
        """What to search for; given to `then` as soon as it is there."""
        if query.id is not None:
            image = self._fan_out.lookup(query.id, deadline)
            embedded = Embedded(unpack_rows(image.vector, image.dim)[0], image.space)
        elif query.embedding is not None:
            vector = np.array(query.embedding, dtype=np.float64)
            embedded = Embedded((vector / np.linalg.norm(vector)).astype(np.float32))
        else:
            return self._make(query, deadline, fresh, then)
        then(embedded.vector)
        return embedded

    def _make(self, query: Query, deadline: float, fresh: bool, then: Then) -> Embedded:
        if query.image is not None:
            files = [query.image]
            (result,) = self._embedder.images(files, deadline, fresh=fresh, then=then)
        else:
            texts = [query.text or ""]
            (result,) = self._embedder.texts(texts, query.model, deadline, fresh=fresh, then=then)
        if isinstance(result, ServiceError):
            raise result
        return result

    def _find(self, query: Query, embedded: Embedded, sent: Sent) -> tuple[FannedOut, list[Hit]]:
        """Merge what was found; where a shard may hold more of the best, ask again for more."""
        fetch, deadline = sent.query.k, sent.gather.deadline
        try:
            found = self._fan_out.result(sent)
        except ServiceError as error:
            if embedded.space and error.code == "wrong_length":  # our own vector, not the client's
                raise _mismatch() from None
            raise
        while True:
            if embedded.space and found.space != embedded.space:
                raise _mismatch()
            found, hits = _merge(query, found)
            if fetch == MAX_K or is_complete(found.shards, fetch, hits, query.k, query.min_score):
                return found, hits
            fetch = min(MAX_K, 4 * fetch)
            try:
                found = self._fan_out.search(embedded.vector, fetch, deadline)
            except Unavailable:
                if not found.coverage.degraded:
                    raise
                return found, hits  # a hung shard took the time: what there is, told as degraded

    def _check_coverage(self, query: Query, found: FannedOut) -> None:
        least = 1.0 if query.require_full else self._min_coverage
        if found.coverage.fraction < least:
            shards = found.coverage.shards
            raise Unavailable(
                f"{shards.ok} of {shards.total} shards answered", "insufficient_coverage"
            )


def _merge(query: Query, found: FannedOut) -> tuple[FannedOut, list[Hit]]:
    """The hits, and what they are from: a shard whose records cannot be read is left out."""
    while True:
        try:
            return found, merge(found.shards, query.k, query.dedup, query.min_score, query.id)
        except BrokenShard as broken:
            log.warning("%s", broken)
            found = found.without(broken.shard)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _mismatch() -> Unavailable:
    return Unavailable(
        "the index was made with another model than the inference server has now: run prepare "
        "again and start the search servers anew, or put the model back (TorchServe: python "
        "inference/archive.py, and start it anew)",
        "model_mismatch",
    )
