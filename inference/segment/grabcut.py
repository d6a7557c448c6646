"""Segments without a model: GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004), by OpenCV."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.batcher import Batcher
from common.config import Inference
from common.errors import NotImplementedHere, Unprocessable
from common.gather import Gather
from common.images.decode import decode
from common.images.formats import FORMATS
from inference.messages import GrabCutRequest, Point, Region, SegmentReply
from inference.prompt_checks import check_prompt
from inference.segment.masks import Mask, box_of, png_of

SIDE = 320
"""The longer side that an image is cut at, in pixels."""
ROUNDS = 3
SURE, PROBABLE = 0.03, 0.3
"""The circles around a click that are sure and probable, in parts of the longer side. With 0.35 a
click on one of two photos side by side takes a piece of the other one in 2 of 40 cases."""
BORDER = 1
"""The pixels at the edge of an image that are sure background, unless a box says otherwise."""
OUT, IN, MAYBE_OUT, MAYBE_IN = range(4)
"""The values of OpenCV: GC_BGD, GC_FGD, GC_PR_BGD, GC_PR_FGD."""
Seeds = NDArray[np.uint8]


class GrabCut:
    """Segments images, one at a time. Any number of threads may call `segment`."""

    def __init__(self, config: Inference) -> None:
        """`config` has the limits of images and of the queue."""
        cut = partial(
            _segment,
            max_pixels=config.max_pixels,
            formats=[name.upper() for name in config.query_formats or FORMATS],
        )

        def run(requests: list[Any], _deadline: float) -> Sequence[SegmentReply]:
            return [cut(request) for request in requests]

        self._batcher = Batcher(
            "grabcut", {"cpu": [run]}, max_batch=1, max_queue=config.max_queue, refuse_late=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._batcher.start()

    def close(self) -> None:
        """Finish the queued requests."""
        self._batcher.close()

    def segment(self, request: GrabCutRequest) -> SegmentReply:
        """The segment of a prompt; raises a ServiceError.

        It is BadRequest for a wrong prompt, what `decode` raises for a wrong image, and
        NotImplementedHere without OpenCV.
        """
        check_prompt(request)
        gather = Gather(1, time.monotonic() + request.deadline_ms / 1000)
        self._batcher.submit(request, gather)
        found: SegmentReply = gather.first()
        return found


def _segment(request: GrabCutRequest, max_pixels: int, formats: Sequence[str]) -> SegmentReply:
    image = decode(request.image, max_pixels, at_least=SIDE, formats=formats)
    image.thumbnail((SIDE, SIDE))
    mask = cut_out(image, request.points, request.box)
    (height, width), (x0, y0, x1, y1) = mask.shape, (box := box_of(mask))
    area = (x1 - x0) * width * (y1 - y0) * height
    return SegmentReply(box, float(mask.sum() / area), png_of(mask))


def cut_out(image: Image.Image, points: Sequence[Point], box: Region | None) -> Mask:
    """The mask of what points and a box mean in a small image: one part, under the first click.

    Where nothing stands out, it is what the prompt alone says. Raises Unprocessable `no_segment` if
    that is nothing, and NotImplementedHere without OpenCV.
    """
    try:
        import cv2
    except ImportError:
        raise NotImplementedHere(
            "segments need a model (Inference.sam), or `pip install -r requirements-segment.txt`"
        ) from None
    labels = _seeds(image.size, points, box)
    inside = _is_in(labels)
    if inside.any() and not inside.all():  # else there is nothing to tell apart
        cv2.setRNGSeed(0)  # so that equal prompts have equal masks
        models = np.zeros((2, 1, 65))
        pixels = np.asarray(image.convert("RGB"))
        cv2.grabCut(pixels, labels, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = _is_in(labels)
    if not inside.any():
        raise Unprocessable(
            "the points outside leave nothing of the box: send another prompt", "no_segment"
        )
    if not found.any():
        return inside
    _, parts, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    wanted = parts[_is_clicked(image.size, points) & found]
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    chosen: Mask = np.isin(parts, wanted if len(wanted) else [largest])
    return chosen


def _is_in(labels: Seeds) -> Mask:
    inside: Mask = (labels == IN) | (labels == MAYBE_IN)
    return inside


def _is_clicked(size: tuple[int, int], points: Sequence[Point]) -> Mask:
    """The pixels that are clicked as inside."""
    clicked = np.zeros(size[::-1], np.bool_)
    for x, y, label in points:
        if label:
            clicked[_pixel(y, size[1]), _pixel(x, size[0])] = True
    return clicked


def _seeds(size: tuple[int, int], points: Sequence[Point], box: Region | None) -> Seeds:
    """What a prompt says of each pixel, uint8 [height, width]."""
    width, height = size
    labels = np.full((height, width), MAYBE_OUT, np.uint8)
    if box:
        x0, y0, x1, y1 = box
        labels[:] = OUT
        part = labels[int(y0 * height) : int(np.ceil(y1 * height))]
        part[:, int(x0 * width) : int(np.ceil(x1 * width))] = MAYBE_IN
    rows, columns = np.ogrid[:height, :width]
    distances = [
        (np.hypot(columns - _pixel(x, width), rows - _pixel(y, height)) / max(size), label)
        for x, y, label in points
    ]
    if not box:
        for distance, label in distances:
            if label:
                labels[distance < PROBABLE] = MAYBE_IN
        labels[[0, -1]] = labels[:, [0, -1]] = OUT
    for distance, label in distances:
        labels[distance < SURE] = IN if label else OUT
    return labels


def _pixel(part: float, side: int) -> int:
    return min(int(part * side), side - 1)
