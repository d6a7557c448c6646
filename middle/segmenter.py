"""Segments of images: by a model, whose encodings are kept, or else by the colours alone."""

import asyncio
from base64 import b64encode
from functools import partial

import msgspec

from common.errors import NotFound, NotImplementedHere, Overloaded, ServiceError, Unavailable
from common.loop import within
from common.wire import encode
from inference.client import InferenceClient
from inference.messages import GrabCutRequest, SamDecodeRequest, SamEncodeReply, SegmentReply
from middle.cache_keys import ImageFile, encoding_key
from middle.memory_store import CacheEntry
from middle.prediction_cache import CacheOutcome, PredictionCache
from middle.run_lengths import run_lengths
from middle.segment_messages import SegmentAnswer, SegmentMethod, SegmentQuery
from middle.upstream_state import ABSENT, UpstreamState

ENCODE_S = 60.0
"""The deadline of an encoding that is kept: it outlasts the queries that wait for it."""
MAX_ENCODING = 16
"""Images that are encoded at a time, and held: a hung server must not collect more of them. The
embedded server has one in hand and eight in its queue."""

_encodings = msgspec.msgpack.Decoder(SamEncodeReply)


class Segmenter:
    """Segments images. Deadlines are on the loop's clock, which is time.monotonic()."""

    def __init__(
        self, inference: InferenceClient, cache: PredictionCache, state: UpstreamState
    ) -> None:
        """The caller closes the arguments."""
        self._inference = inference
        self._tier = cache.slow_tier("encoding", read_encoding)
        self._state = state
        self._encoding = 0
        """Images that are being encoded."""

    async def segment(
        self, query: SegmentQuery, image: ImageFile, deadline: float, *, bypass: bool = False
    ) -> tuple[SegmentAnswer, CacheOutcome | None]:
        """The segment of a checked query, and where the image's encoding is from, if it has one.

        With `bypass` it is encoded anew. Raises a ServiceError: NotImplementedHere where the
        inference server has nothing that segments, and DeadlineExceeded for an encoding that takes
        longer, which then goes on and is kept.
        """
        if self._state.digest("sam") != ABSENT:
            try:
                return await self._by_model(query, image, deadline, bypass)
            except ServiceError as error:
                if error.status != NotFound.status:
                    raise  # else the state is not known yet, or has just changed
        return await self._by_colours(query, image, deadline), None

    async def _by_model(
        self, query: SegmentQuery, image: ImageFile, deadline: float, bypass: bool
    ) -> tuple[SegmentAnswer, CacheOutcome | None]:
        began = _now()
        encoding, outcome = await within(deadline, self._encode(image, deadline, bypass))
        encoded = _now()
        request = SamDecodeRequest(
            points=query.points,
            box=query.box,
            features=encoding.features,
            size=encoding.size,
            digest=encoding.digest,
        )
        try:
            reply = await self._inference.sam_decode(request, deadline)
        except ServiceError as error:
            if error.code == "other_model":
                raise Unavailable("the model that segments has changed: ask again") from None
            raise
        took_s = {"encode": encoded - began, "decode": _now() - encoded, "total": _now() - began}
        return answer(query, reply, "sam", took_s), outcome

    async def _encode(
        self, image: ImageFile, deadline: float, bypass: bool
    ) -> tuple[SamEncodeReply, CacheOutcome | None]:
        digest = self._state.digest("sam")
        if self._tier is None or digest is None:
            return await self._inference.sam_encode(image.data, deadline), None
        key, keep = encoding_key(digest, image), partial(keep_encoding, digest)
        make = partial(self._make_encoding, image)
        return await self._tier.get(key, make, keep, deadline, bypass=bypass)

    async def _make_encoding(self, image: ImageFile) -> SamEncodeReply:
        if self._encoding >= MAX_ENCODING:
            raise Overloaded(f"{MAX_ENCODING} images are being encoded: try again in a second")
        self._encoding += 1
        try:
            return await self._inference.sam_encode(image.data, _now() + ENCODE_S)
        finally:
            self._encoding -= 1

    async def _by_colours(
        self, query: SegmentQuery, image: ImageFile, deadline: float
    ) -> SegmentAnswer:
        began = _now()
        request = GrabCutRequest(image=image.data, points=query.points, box=query.box)
        try:
            reply = await self._inference.grabcut(request, deadline)
        except ServiceError as error:
            if error.status != NotFound.status:
                raise
            raise NotImplementedHere(f"this server finds no segments: {error.detail}") from None
        took_s = _now() - began
        return answer(query, reply, "grabcut", {"decode": took_s, "total": took_s})


def answer(
    query: SegmentQuery, reply: SegmentReply, method: SegmentMethod, took_s: dict[str, float]
) -> SegmentAnswer:
    """The answer to a query, its mask in the format that is asked for."""
    is_png = query.mask_format == "png"
    mask = b64encode(reply.mask).decode() if is_png else run_lengths(reply.mask)
    took_ms = {part: round(1000 * seconds, 1) for part, seconds in took_s.items()}
    return SegmentAnswer(reply.box, reply.score, mask, method, took_ms)


def keep_encoding(digest: str, encoding: SamEncodeReply) -> bytes | None:
    """The cache value of an encoding; None if another model than that of `digest` made it."""
    return encode(encoding) if encoding.digest == digest else None


def read_encoding(entry: CacheEntry) -> SamEncodeReply:
    """The encoding in a cache entry; raises DecodeError."""
    return _encodings.decode(entry.value)


def _now() -> float:
    return asyncio.get_running_loop().time()
