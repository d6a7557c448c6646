"""The regions of an image by Segment Anything: the boxes of what a grid of clicks finds in it.

As SAM's automatic masks are made (Kirillov et al., 2023, arXiv:2304.02643, appendix B), with fewer
clicks and without crops.
"""

import threading
from collections.abc import Callable, Sequence

from common.config import Loaded
from common.errors import ConfigError, Unprocessable
from inference.messages import Region
from inference.segment.masks import box_of
from inference.segment.sam import Sam, load_sam
from inference.segment.sam_decoder import segment

CLICKS = 5
"""A side of the grid: 25 clicks take about a second of one core."""
MAX_REGIONS = 8
LEAST_SCORE = 0.8
LEAST_AREA, MOST_AREA = 0.02, 0.8
"""Of a box, in parts of the image: what is larger is nearly all of it."""
MAX_OVERLAP = 0.7
"""Two boxes that share more than this part of both together are one; SAM's own value."""


def open_finder(loaded: Loaded) -> Callable[[bytes], list[Region]]:
    """A function, for any thread, that finds the regions of an image file; raises ConfigError."""
    settings = loaded.config.inference.of("sam")
    if settings.sam is None:
        raise ConfigError("config: Prepare.regions is sam, but Inference.sam names no model")
    sam, lock = load_sam(settings.sam, settings, loaded.root), threading.Lock()
    return lambda data: find_regions(sam, data, settings.max_pixels, lock)


def find_regions(sam: Sam, data: bytes, max_pixels: int, lock: threading.Lock) -> list[Region]:
    """The boxes of the best segments of an image; `lock` is that of the encoder."""
    with lock:
        size, features = sam.encode(data, max_pixels)
    values = sam.decoder.layout.unpack(features)
    found = []
    for number in range(CLICKS**2):
        x, y = ((place + 0.5) / CLICKS for place in divmod(number, CLICKS))
        try:
            mask, score = segment(sam.decoder, values, size, [(x, y, 1)], None)
        except Unprocessable:  # there is nothing
            continue
        found.append((score, box_of(mask)))
    return choose(found)


def choose(found: Sequence[tuple[float, Region]]) -> list[Region]:
    """Of scored boxes the best, each thing once."""
    chosen: list[Region] = []
    for score, box in sorted(found, reverse=True):
        is_thing = score >= LEAST_SCORE and LEAST_AREA <= _area(box) <= MOST_AREA
        if is_thing and all(_overlap(box, other) <= MAX_OVERLAP for other in chosen):
            chosen.append(box)
    return chosen[:MAX_REGIONS]


def _area(box: Region) -> float:
    x0, y0, x1, y1 = box
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


def _overlap(box: Region, other: Region) -> float:
    """What two boxes share, in parts of both together."""
    corners = [*map(max, box[:2], other[:2]), *map(min, box[2:], other[2:])]
    shared = _area((corners[0], corners[1], corners[2], corners[3]))
    return shared / (_area(box) + _area(other) - shared)
