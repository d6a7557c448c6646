"""Embedding of texts and images: the choice of a text tower, and its fallback."""

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from common.errors import BadRequest, ServiceError, Unavailable
from common.wire import Matrix, encode, pack_rows, unpack_rows
from inference.client import Embedding, InferenceClient, Probabilities, Role
from inference.messages import Logits
from middle.cache_keys import ImageFile, embedding_key, normal_text
from middle.language import has_words, is_english
from middle.memory_store import CacheEntry
from middle.messages import EmbedAnswer, EmbedQuery, ModelChoice
from middle.prediction_cache import PredictionCache
from middle.upstream_state import UpstreamState

Result = TypeVar("Result")


class Embedded(NamedTuple):
    """A unit vector [dim]. A stored vector has no model; a client's vector has no space, either."""

    vector: Matrix
    space: str | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    logits: Logits = Logits()
    digest: str = ""
    """The digest of the model that made the vector."""
    position: int = sys.maxsize
    """In the log, of a stored vector."""


class CacheRecord(msgspec.Struct, array_like=True):
    """An Embedding in the cache."""

    vector: bytes
    space: str
    model: str
    warning: str | None
    logits: Logits
    digest: str


_records = msgspec.msgpack.Decoder(CacheRecord)


class Embedder:
    """Embeds texts and images, or finds their embeddings in the cache."""

    def __init__(
        self, inference: InferenceClient, cache: PredictionCache, state: UpstreamState
    ) -> None:
        """The caller closes the arguments. Deadlines are on the loop's clock."""
        self._inference = inference
        self._tier = cache.tier("embedding", read_embedding)
        self._state = state

    def digest(self, role: Role) -> str | None:
        """The digest of the model in a role, or ABSENT; None while unknown."""
        return self._state.digest(role)

    async def texts(
        self, texts: Sequence[str], choice: ModelChoice, deadline: float, *, bypass: bool = False
    ) -> list[Embedded | ServiceError]:
        """A vector or an error for each text; with `bypass`, nothing is from the cache."""
        texts = [normal_text(text) for text in texts]
        roles = [choose_role(text, choice) for text in texts]
        results = await self._embed(list(zip(roles, texts, strict=True)), deadline, bypass)
        if choice != "auto":
            return [_explained(result, choice) for result in results]
        missing = [i for i, result in enumerate(results) if _is_missing(result)]
        again = await self._embed([("clip", texts[i]) for i in missing], deadline, bypass)
        for i, result in zip(missing, again, strict=True):
            if isinstance(result, Embedded) and has_words(texts[i]):
                warning = answered_by_clip(getattr(results[i], "detail", ""))
                result = result._replace(warnings=(warning, *result.warnings))
            results[i] = _explained(result, "clip")
        return results

    async def images(
        self, files: Sequence[ImageFile], deadline: float, *, bypass: bool = False
    ) -> list[Embedded | ServiceError]:
        """A vector or an error for each image file; with `bypass`, nothing is from the cache."""
        results = await self._embed([("clip", file) for file in files], deadline, bypass)
        return [_explained(result, "clip") for result in results]

    async def classify(
        self, files: Sequence[ImageFile], deadline: float
    ) -> list[Probabilities | Embedded | ServiceError]:
        """Class probabilities of image files; vectors if the model has no classifier."""
        calls = [self._inference.classify_image(file.data, deadline, file.region) for file in files]
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
        make: Any  # mypy sees no coroutine function in a partial
        if isinstance(item, str):
            make = partial(self._inference.embed_text, role, item, deadline)
        else:
            make = partial(self._inference.embed_image, item.data, deadline, item.region)
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
    """Embed checked inputs; raises the error of the first that fails, with its place."""
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
    """The text tower for a normal text: `choice`; with auto, clip for English, else mclip."""
    if choice != "auto":
        return choice
    return "clip" if is_english(text) else "mclip"


def answered_by_clip(reason: str) -> str:
    """The warning for a text that clip answered, since mclip is missing for `reason`."""
    return f"{reason}; answered by clip, which may not know the language"


def keep_embedding(digest: str, embedding: Embedding) -> bytes | None:
    """The cache value of an embedding; None if another model than that of `digest` made it."""
    if embedding.digest != digest:
        return None
    vector = pack_rows(embedding.vector)
    return encode(CacheRecord(vector, *embedding[1:]))


def read_embedding(entry: CacheEntry) -> Embedding:
    """The embedding in a cache entry; raises DecodeError or BadRequest."""
    kept = _records.decode(entry.value)
    vector = unpack_rows(kept.vector, len(kept.vector) // 4)[0]
    return Embedding(vector, kept.space, kept.model, kept.warning, kept.logits, kept.digest)


async def _all(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result | BaseException]:
    """The result or exception of each call. Most queries have one call, which needs no task."""
    if len(calls) != 1:
        return await asyncio.gather(*calls, return_exceptions=True)
    try:
        return [await calls[0]]
    except Exception as error:  # the outcome of this item
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
    """Whether the inference server, ours or TorchServe, does not have the model."""
    return isinstance(result, ServiceError) and result.status == 404


def _explained(result: Embedded | ServiceError, role: Role) -> Embedded | ServiceError:
    """The result, with the error of a missing model explained.

    A missing mclip is the client's error, since the client may choose clip. A missing clip is ours.
    """
    if not isinstance(result, ServiceError) or not _is_missing(result):
        return result
    if role == "mclip":
        return BadRequest(result.detail, "model_unavailable")
    return Unavailable("what answers as the inference server has no model clip")
