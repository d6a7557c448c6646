"""Segments of images, by what the inference server has for them."""

import asyncio
from base64 import b64encode

from common.errors import NotFound, NotImplementedHere
from inference.client import InferenceClient
from inference.messages import GrabCutRequest, SegmentReply
from middle.run_lengths import run_lengths
from middle.segment_messages import MaskFormat, SegmentAnswer, SegmentQuery


class Segmenter:
    """Segments images. Deadlines are on the loop's clock."""

    def __init__(self, inference: InferenceClient) -> None:
        """The caller closes `inference`."""
        self._inference = inference

    async def segment(self, query: SegmentQuery, deadline: float) -> SegmentAnswer:
        """The segment of a checked query, its mask as a PNG; raises a ServiceError.

        It is NotImplementedHere where the inference server has nothing that segments.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        request = GrabCutRequest(image=query.image or b"", points=query.points, box=query.box)
        try:
            reply = await self._inference.grabcut(request, deadline)
        except NotFound as error:
            raise NotImplementedHere(f"this server finds no segments: {error.detail}") from None
        took_ms = 1000 * (loop.time() - began)
        return _answer(reply, query.mask_format, {"decode": took_ms, "total": took_ms})


def _answer(
    reply: SegmentReply, mask_format: MaskFormat, took_ms: dict[str, float]
) -> SegmentAnswer:
    is_png = mask_format == "png"
    mask = b64encode(reply.mask).decode() if is_png else run_lengths(reply.mask)
    rounded = {part: round(took, 1) for part, took in took_ms.items()}
    return SegmentAnswer(reply.box, reply.score, mask, "grabcut", rounded)
