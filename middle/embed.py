"""Making vectors of texts and images: which text tower, and what to do when there is none."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from common.errors import BadRequest, ServiceError, Unavailable
from common.wire import Matrix, encode, pack_rows, unpack_rows
from inference.client import Embedding, InferenceClient, Probabilities, Role
from inference.messages import Logits
from middle.cache_keys import ImageFile, embedding_key, normal_text
from middle.language import is_english
from middle.memory_store import CacheEntry
from middle.messages import EmbedAnswer, EmbedQuery, ModelChoice
from middle.prediction_cache import PredictionCache
from middle.upstream_state import UpstreamState

Result = TypeVar("Result")


class Embedded(NamedTuple):
    """A unit vector; space and model are None where it was given and not made."""

    vector: Matrix
    space: str | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    logits: Logits = Logits()
    digest: str = ""
    """Of all that made it."""


class CacheRecord(msgspec.Struct, array_like=True):
    """An Embedding as it is kept."""

    vector: bytes
    space: str
    model: str
    warning: str | None
    logits: Logits
    digest: str


_records = msgspec.msgpack.Decoder(CacheRecord)


class Embedder:
    """Makes vectors of texts and images, or finds them in the cache."""

    def __init__(
        self, inference: InferenceClient, cache: PredictionCache, state: UpstreamState
    ) -> None:
        """All are closed by who made them; deadlines are on the loop's clock."""
        self._inference = inference
        self._tier = cache.tier("embedding", read_embedding)
        self._state = state

    async def texts(
        self, texts: Sequence[str], choice: ModelChoice, deadline: float, *, bypass: bool = False
    ) -> list[Embedded | ServiceError]:
        """Embed texts, with `bypass` not from the cache; each ends in its vector or its error."""
        texts = [normal_text(text) for text in texts]
        roles = [choose_role(text, choice) for text in texts]
        results = await self._embed(list(zip(roles, texts, strict=True)), deadline, bypass)
        if choice != "auto":
            return [_explained(result, choice) for result in results]
        missing = [i for i, result in enumerate(results) if _is_missing(result)]
        again = await self._embed([("clip", texts[i]) for i in missing], deadline, bypass)
        for i, result in zip(missing, again, strict=True):
            if isinstance(result, Embedded):
                warning = answered_by_clip(getattr(results[i], "detail", ""))
                result = result._replace(warnings=(warning, *result.warnings))
            results[i] = _explained(result, "clip")
        return results

    async def images(
        self, files: Sequence[ImageFile], deadline: float, *, bypass: bool = False
    ) -> list[Embedded | ServiceError]:
        """The same for image files."""
        results = await self._embed([("clip", file) for file in files], deadline, bypass)
        return [_explained(result, "clip") for result in results]

    async def classify(
        self, files: Sequence[ImageFile], deadline: float
    ) -> list[Probabilities | Embedded | ServiceError]:
        """What the model's classifier says of image files, or their vectors if it has none."""
        calls = [self._inference.classify_image(file.data, deadline) for file in files]
        results = await _all(calls)
        return [
            result if isinstance(result, Probabilities) else _explained(_embedded(result), "clip")
            for result in results
        ]

    async def _embed(
        self, wanted: Sequence[tuple[Role, str | ImageFile]], deadline: float, bypass: bool
    ) -> list[Embedded | ServiceError]:
        calls = [self._embed_one(role, item, deadline, bypass) for role, item in wanted]
        results = await _all(calls)
        return [_embedded(result) for result in results]

    async def _embed_one(
        self, role: Role, item: str | ImageFile, deadline: float, bypass: bool
    ) -> Embedding:
        make: Any  # a partial of a method, which mypy takes for no coroutine function
        if isinstance(item, str):
            make = partial(self._inference.embed_text, role, item, deadline)
        else:
            make = partial(self._inference.embed_image, item.data, deadline)
        digest = self._state.digest(role)
        if self._tier is None or digest is None:
            made: Embedding = await make()
            return made
        key, keep = embedding_key(digest, item), partial(keep_embedding, digest)
        embedding, _ = await self._tier.get(key, make, keep, deadline, bypass=bypass)
        return embedding


async def answer_inputs(
    embedder: Embedder,
    query: EmbedQuery,
    images: list[ImageFile],
    deadline: float,
    *,
    bypass: bool = False,
) -> EmbedAnswer:
    """Embed checked inputs; raises the error of the first that fails, naming its place."""
    if query.texts:
        results = await embedder.texts(query.texts, query.model, deadline, bypass=bypass)
    else:
        results = await embedder.images(images, deadline, bypass=bypass)
    answer = EmbedAnswer([], "")
    for place, result in enumerate(results):
        if isinstance(result, ServiceError):
            raise ServiceError(f"input {place}: {result.detail}", result.code, result.status)
        answer.embeddings.append(result.vector.tolist())
        answer.model = result.model or ""
        answer.warnings += [f"input {place}: {warning}" for warning in result.warnings]
    return answer


def choose_role(text: str, choice: ModelChoice) -> Role:
    """The text tower for a text: as chosen; else clip, which reads English, for English."""
    if choice != "auto":
        return choice
    return "clip" if is_english(text) else "mclip"


def answered_by_clip(reason: str) -> str:
    """The warning for texts that were not for clip, when mclip cannot be had for a reason."""
    return f"{reason}; answered by clip, which may not know the language"


def keep_embedding(digest: str, embedding: Embedding) -> bytes | None:
    """The value to keep of an embedding, if it is by the model of a digest."""
    if embedding.digest != digest:
        return None
    vector = pack_rows(embedding.vector)
    return encode(CacheRecord(vector, *embedding[1:]))


def read_embedding(entry: CacheEntry) -> Embedding:
    """The embedding in an entry; raises DecodeError or BadRequest."""
    kept = _records.decode(entry.value)
    vector = unpack_rows(kept.vector, len(kept.vector) // 4)[0]
    return Embedding(vector, kept.space, kept.model, kept.warning, kept.logits, kept.digest)


async def _all(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result | BaseException]:
    """What each call ends in. Most queries have one, which needs no task."""
    if len(calls) != 1:
        return await asyncio.gather(*calls, return_exceptions=True)
    try:
        return [await calls[0]]
    except Exception as error:  # the edge of an item
        return [error]


def _embedded(result: Embedding | BaseException) -> Embedded | ServiceError:
    if isinstance(result, ServiceError):
        return result
    if isinstance(result, BaseException):
        raise result
    warnings = (result.warning,) if result.warning else ()
    return Embedded(
        result.vector, result.space, result.model, warnings, result.logits, result.digest
    )


def _is_missing(result: Embedded | ServiceError) -> bool:
    """Whether the engine, either of them, said that it does not have the model."""
    return isinstance(result, ServiceError) and result.status == 404


def _explained(result: Embedded | ServiceError, role: Role) -> Embedded | ServiceError:
    """The result, but a missing model is the client's fault where it may choose another."""
    if not isinstance(result, ServiceError) or not _is_missing(result):
        return result
    if role == "mclip":
        return BadRequest(result.detail, "model_unavailable")
    return Unavailable("what answers as the inference server has no model clip")
