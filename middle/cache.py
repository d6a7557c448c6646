"""The prediction cache: its store, its two levels, and the embeddings in the one of them."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from common.batcher import Awaited
from common.config import Middle
from common.wire import pack_rows, unpack_rows
from inference.client import Embedding, InferenceClient, Role
from inference.messages import Logits
from middle.flights import HEAD_START_S, Level, Task
from middle.keys import embedding_key
from middle.store import Entry, Generation, MemoryStore, Store
from middle.watch import Watch


class Kept(msgspec.Struct, array_like=True):
    """An Embedding as it is kept."""

    vector: bytes
    space: str
    model: str
    warning: str | None
    logits: Logits
    digest: str


_kept = msgspec.msgpack.Decoder(Kept)
_encode = msgspec.msgpack.Encoder().encode


class PredictionCache:
    """The store that the configuration names, and the levels in it."""

    def __init__(self, how: Middle, generation: Generation) -> None:
        """Nothing is opened before `start`."""
        self._generation = generation
        self._store = _create_store(how, generation)

    def start(self) -> None:
        """Start the threads; call it after the process has forked."""
        if self._store:
            self._store.start()

    def close(self) -> None:
        """Write what waits and close the connections."""
        if self._store:
            self._store.close()

    def level(self, name: str, read: Callable[[Entry], Any]) -> Level | None:
        """A level of the cache, see `Level`; None when there is no cache."""
        return Level(name, self._store, self._generation, read) if self._store else None

    def purge(self, deadline: float) -> None:
        """Forget everything, in all workers; raises Unavailable or DeadlineExceeded."""
        self._generation.change()  # first: what is under way now will not be kept
        if self._store:
            self._store.purge(deadline)


def _create_store(how: Middle, generation: Generation) -> Store | None:
    if how.cache == "off":
        return None
    if how.cache == "memory":
        return MemoryStore(how, generation)
    from middle.redis_store import RedisStore  # its package takes 0.1 s to import

    return RedisStore(how.cache, how)


class Embeddings:
    """Embeds by an inference server what the cache does not know."""

    def __init__(self, inference: InferenceClient, cache: PredictionCache, watch: Watch) -> None:
        """All are started and closed by who made them."""
        self._inference = inference
        self._watch = watch
        self._level = cache.level("embedding", read_embedding)

    def embed(
        self, wanted: Sequence[tuple[Role, str | bytes]], gather: Awaited, *, fresh: bool
    ) -> None:
        """Settle a slot of `gather` with the Embedding of each normal text or image file.

        When it returns, all are under way. With `fresh` nothing is looked up.
        """
        flights = []
        for slot, (role, item) in enumerate(wanted):
            predict = self._prediction(role, item)
            digest = self._watch.digest(role)
            if self._level is None or digest is None:
                predict(gather, slot)
                continue
            key, task = embedding_key(digest, item), Task(predict, partial(keep_embedding, digest))
            if fresh:
                self._level.bypass(key, task, gather, slot).begin()
            elif flight := self._level.join(key, task, gather, slot):
                flights.append(flight)
        until = time.monotonic() + HEAD_START_S
        for flight in flights:
            flight.give_head_start(until)

    def _prediction(self, role: Role, item: str | bytes) -> Callable[..., None]:
        if isinstance(item, str):
            return partial(self._inference.embed_text, role, item)
        return partial(self._inference.embed_image, item)


def keep_embedding(digest: str, result: Any) -> bytes | None:
    """The value to keep of what inference gave: an Embedding by the model of a digest."""
    if not isinstance(result, Embedding) or result.digest != digest:
        return None
    vector = pack_rows(result.vector)  # a copy: it is a row of a reply, which it would keep whole
    return _encode(Kept(vector, *result[1:]))


def read_embedding(entry: Entry) -> Embedding:
    """The Embedding in an entry; raises DecodeError or BadRequest."""
    kept = _kept.decode(entry.value)
    vector = unpack_rows(kept.vector, len(kept.vector) // 4)[0]
    return Embedding(vector, kept.space, kept.model, kept.warning, kept.logits, kept.digest)
