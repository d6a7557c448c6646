"""A segmenter, and an inference server without a socket that segments."""

import asyncio
import io
from typing import cast

import numpy as np
from PIL import Image

from common.cache_epoch import CacheEpoch
from common.config import Middle
from common.errors import ServiceError
from inference.client import InferenceClient
from inference.messages import (
    GrabCutRequest,
    Region,
    SamDecodeRequest,
    SamEncodeReply,
    SegmentReply,
)
from middle.cache_keys import image_file
from middle.prediction_cache import CacheOutcome, PredictionCache
from middle.segment_messages import SegmentAnswer, SegmentQuery
from middle.segmenter import Segmenter
from middle.upstream_state import UpstreamState
from tests.unit.answering import FakeState

BOX: Region = (0.0, 0.0, 0.5, 1.0)
ENCODE_S, DECODE_S = 2.0, 0.1
MODEL = "digest of sam"


def png(mask: list[list[int]]) -> bytes:
    """The PNG of a mask."""
    file = io.BytesIO()
    Image.fromarray(np.array(mask, np.bool_)).save(file, "PNG")
    return file.getvalue()


class FakeSegments:
    """Encodes in ENCODE_S, decodes in DECODE_S; errors of each verb can be set."""

    def __init__(self) -> None:
        self.digest = MODEL
        self.encode_s = ENCODE_S
        self.errors: dict[str, ServiceError] = {}
        self.encoded: list[tuple[bytes, float]] = []
        """Each image, and the seconds that it had."""
        self.decoded: list[SamDecodeRequest] = []
        self.cut: list[GrabCutRequest] = []

    async def sam_encode(self, image: bytes, deadline: float) -> SamEncodeReply:
        self.encoded.append((image, round(deadline - asyncio.get_running_loop().time(), 3)))
        await self._take("encode", self.encode_s)
        return SamEncodeReply("sam", self.digest, (1, 2), b"features of " + image)

    async def sam_decode(self, request: SamDecodeRequest, _deadline: float) -> SegmentReply:
        self.decoded.append(request)
        await self._take("decode", DECODE_S)
        return SegmentReply(BOX, 0.9, png([[1, 0]]))

    async def grabcut(self, request: GrabCutRequest, _deadline: float) -> SegmentReply:
        self.cut.append(request)
        await self._take("grabcut", DECODE_S)
        return SegmentReply(BOX, 1.0, png([[1, 0]]))

    async def _take(self, verb: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if verb in self.errors:
            raise self.errors[verb]


class Segments:
    """A segmenter and all that is behind it; `digest` is what is known of the model."""

    def __init__(self, digest: str | None = MODEL, **settings: object) -> None:
        self.inference = FakeSegments()
        self.state = FakeState()
        self.state.digests = {"sam": digest} if digest else {}
        self.cache = PredictionCache(Middle(**settings), CacheEpoch())  # type: ignore[arg-type]
        self.segmenter = Segmenter(
            cast(InferenceClient, self.inference), self.cache, cast(UpstreamState, self.state)
        )

    async def ask(
        self, image: bytes = b"image", seconds: float = 10.0, *, bypass: bool = False
    ) -> tuple[SegmentAnswer, CacheOutcome | None]:
        query = SegmentQuery(image=image, points=[(0.1, 0.2, 1)], box=BOX)
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.segmenter.segment(query, image_file(image), deadline, bypass=bypass)


def absent(role: str) -> ServiceError:
    """What a server without a role answers, as it comes over HTTP."""
    return ServiceError(f"no model {role}", "model_unavailable", 404)
