"""Segments that are asked of middle and answered, in JSON or msgpack."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from inference.messages import Point as Point
from inference.messages import Region
from inference.prompt_checks import MAX_POINTS
from middle.messages import RequestId

MaskFormat = Literal["png", "rle"]
SegmentMethod = Literal["sam", "grabcut"]
RunLengths = dict[str, list[int]]
"""A mask as COCO has it, not compressed: `size`, height and width; `counts`, the lengths of the
runs outside and inside in turn, column by column, the first one outside."""


class SegmentQuery(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What is sought in an image, by points, a box, or both."""

    image: Annotated[bytes, Meta(description="an image file, in base64")] | None = None
    points: Annotated[
        list[Point],
        Meta(
            description="places in the picture as shown: x, y in parts of 1 from the top left"
            " corner, and 1 for what is sought, 0 for what is not",
            extra_json_schema={"maxItems": MAX_POINTS},
        ),
    ] = []
    box: (
        Annotated[
            Region,
            Meta(description="around what is sought: x0, y0, x1, y1 as `region` of a search"),
        ]
        | None
    ) = None
    mask_format: Annotated[
        MaskFormat, Meta(description="the mask as a PNG, or as the run lengths of COCO")
    ] = "png"


class SegmentAnswer(msgspec.Struct):
    """The segment of a prompt."""

    box: Annotated[Region, Meta(description="around the segment: the `region` of a search by it")]
    score: Annotated[
        float,
        Meta(
            description="0 to 1; of sam the quality that the model expects,"
            " of grabcut the share of the box that the segment fills"
        ),
    ]
    mask: Annotated[
        str | RunLengths,
        Meta(
            description="in the shape of the picture, its longer side at most 1,024 pixels:"
            " a PNG of one bit in base64, white inside; or `size` (height, width) and `counts`,"
            " run lengths column by column, the first one outside"
        ),
    ]
    method: Annotated[
        SegmentMethod, Meta(description="what made it: a model, or the colours alone")
    ]
    took_ms: Annotated[
        dict[str, float], Meta(description="of `encode` (sam alone), `decode` and `total`")
    ]
    request_id: RequestId = ""
