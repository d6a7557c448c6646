"""Checks of regions and of segment prompts, for what their types cannot express."""

from typing import Protocol

from common.errors import BadRequest
from inference.messages import Point, Region

MIN_SIDE = 0.001
"""The smallest side of a region, in parts of the image's side: a pixel of a large image."""
MAX_POINTS = 32


class Prompt(Protocol):
    """What is sought in an image, of any message."""

    points: list[Point]
    box: Region | None


def check_region(region: Region, field: str = "region") -> None:
    """Raise BadRequest for what is not a part of an image."""
    x0, y0, x1, y1 = region
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):  # refuses NaN, too
        raise BadRequest(
            f"`{field}` is [x0, y0, x1, y1] in parts of 1: 0 <= x0 < x1 <= 1, 0 <= y0 < y1 <= 1"
        )
    if min(x1 - x0, y1 - y0) < MIN_SIDE:
        raise BadRequest(f"`{field}` has a side under {MIN_SIDE} of the picture")


def check_prompt(prompt: Prompt) -> None:
    """Raise BadRequest for points and a box that say nothing of an image."""
    points, box = prompt.points, prompt.box
    if len(points) > MAX_POINTS:
        raise BadRequest(f"`points` has {len(points)} points; {MAX_POINTS} is the limit")
    for place, (x, y, label) in enumerate(points):
        if not (0 <= x <= 1 and 0 <= y <= 1 and label in (0, 1)):  # refuses NaN, too
            raise BadRequest(
                f"`points[{place}]` is [x, y, label]: x and y in parts of 1, 0 to 1;"
                " label 1 inside what is sought, 0 outside"
            )
    if box is not None:
        check_region(box, "box")
    elif not any(label for _, _, label in points):
        raise BadRequest("give a `box`, or `points` with one of label 1")
