"""A Segment Anything model as it is served: encodes and decodes have a queue each."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from common.batcher import Batcher, Run
from common.config import Inference
from common.cores import usable_cores
from common.errors import BadRequest
from common.gather import Gather
from common.images.formats import FORMATS
from inference.clip.session import MAX_THREADS
from inference.messages import SamDecodeRequest, SamEncodeReply, SamEncodeRequest, SegmentReply
from inference.prompt_checks import check_prompt
from inference.segment.sam import Sam

ENCODE_QUEUE = 8
"""Encodes that wait: at half a second or more for each, a longer queue outlasts who waits."""


class ServedSam:
    """A model that segments images. Any number of threads may call it.

    A decode, of a click, takes 40 ms and never waits for an encode, which takes up to seconds.
    """

    def __init__(self, sam: Sam, config: Inference) -> None:
        """`config` is that of the role: the limits of images and of the queue of decodes."""
        self._sam = sam
        self.layout = sam.decoder.layout
        self._max_pixels = config.max_pixels
        self._formats = [name.upper() for name in config.query_formats or FORMATS]
        lanes = min(MAX_THREADS, usable_cores())
        kind = sam.encoder.device.kind if sam.encoder else "cpu"
        self._encodes = _batcher("sam_encode", {kind: [self._encode]}, ENCODE_QUEUE)
        self._decodes = _batcher("sam_decode", {"cpu": [self._decode] * lanes}, config.max_queue)

    def start(self) -> None:
        """Start the threads."""
        self._encodes.start()
        self._decodes.start()

    def close(self) -> None:
        """Finish the queued requests, then end the threads."""
        self._encodes.close()
        self._decodes.close()

    def encode(self, request: SamEncodeRequest) -> SamEncodeReply:
        """The features of an image; raises as `decode` in common/images does, and Unavailable."""
        reply = SamEncodeReply(self._sam.name, self._sam.digest)
        if not request.describe:
            reply.size, reply.features = _run(self._encodes, request)
        return reply

    def decode(self, request: SamDecodeRequest) -> SegmentReply:
        """The segment of a prompt; raises a ServiceError, BadRequest for a wrong prompt."""
        check_prompt(request)
        if request.digest != self._sam.digest:
            raise BadRequest(
                f"these features are not of {self._sam.name}: encode the image again", "other_model"
            )
        found: SegmentReply = _run(self._decodes, request)
        return found

    def _encode(self, requests: list[Any], _deadline: float) -> list[Any]:
        limits = self._max_pixels, self._formats
        return [self._sam.encode(request.image, *limits) for request in requests]

    def _decode(self, requests: list[Any], _deadline: float) -> list[Any]:
        return [
            self._sam.decode(request.features, request.size, request.points, request.box)
            for request in requests
        ]


def _batcher(role: str, runs: Mapping[str, Sequence[Run]], max_queue: int) -> Batcher:
    return Batcher(role, runs, max_batch=1, max_queue=max_queue, refuse_late=True)


def _run(batcher: Batcher, request: SamEncodeRequest | SamDecodeRequest) -> Any:
    gather = Gather(1, time.monotonic() + request.deadline_ms / 1000)
    batcher.submit(request, gather)
    return gather.first()
