"""The JSON of segment-anything-services, so that its clients may ask TorchServe here.

Files and arrays are in base64, places in pixels: x, y from the top left corner. Two mistakes of
that project's handlers are not repeated: masks are cut where Segment Anything means it, and a bbox
is a box. See https://github.com/developmentseed/segment-anything-services, handler_decode.py.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import BadRequest, NotImplementedHere, TooLarge
from common.images.formats import format_of
from common.json_input import decode_json
from inference.messages import Point, Region, SamEncodeRequest
from inference.prompt_checks import MAX_POINTS
from inference.segment.sam_decoder import SamDecoder, enlarge, masks_of
from inference.segment.sam_layout import SAM, Layout, Size, resized
from inference.segment.served_sam import ServedSam

MAX_PIXELS = 2048 * 2048
"""The largest image, as the original has it: four masks of a byte a pixel are 22 MB in base64."""


class EncodeJson(msgspec.Struct):
    """The body of `POST /predictions/sam_encode`, if it is no image file."""

    encoded_image: bytes


class DecodeJson(msgspec.Struct):
    """The body of `POST /predictions/sam_decode`."""

    image_embeddings: bytes
    """float32, little-endian, [1, 256, 64, 64]."""
    image_shape: tuple[int, int]
    """Height and width, in pixels."""
    input_prompt: list[float | list[float]]
    """[x, y] of one point, [[x, y], ...] of several, [x0, y0, x1, y1] of a box."""
    input_label: int | list[int]
    """Of each point: 1 if it is inside what is sought, 0 if it is outside."""
    decode_type: Literal["single_point", "multi_point", "bbox"]
    crs: Any = None


class EncodedJson(msgspec.Struct):
    """The reply of `sam_encode`."""

    image_embedding: bytes
    """As `image_embeddings` in `DecodeJson`."""
    status: str = "success"


class DecodedJson(msgspec.Struct):
    """The reply of `sam_decode`."""

    masks: bytes
    """uint8 [masks, height, width], 1 inside: of a thing, its parts and what it is part of."""
    confidence_scores: list[float]
    """Of each mask."""
    status: str = "success"


def takes(body: bytes) -> bool:
    """Whether a body is for these functions: JSON, or an image file. No msgpack map begins so."""
    return body[:1] == b"{" or format_of(body) is not None


def encode_image(served: ServedSam, body: bytes) -> EncodedJson:
    """The features of an image; raises as `ServedSam.encode`, and TooLarge for a large one.

    It is NotImplementedHere for SAM 2, whose features are more than this JSON has.
    """
    _check_layout(served.layout)
    image = decode_json(body, EncodeJson).encoded_image if body[:1] == b"{" else body
    reply = served.encode(SamEncodeRequest(image))
    if math.prod(reply.size) > MAX_PIXELS:
        raise TooLarge("the image has more pixels than 2048 x 2048: make it smaller, or cut it")
    (features,) = SAM.unpack(reply.features)
    return EncodedJson(features.astype("<f4").tobytes())


def decode_prompt(decoder: SamDecoder, body: bytes) -> DecodedJson:
    """All masks of a prompt; raises BadRequest that names the wrong field.

    It is TooLarge for the shape of a large image, and NotImplementedHere for SAM 2, for `crs`, and
    for a box where the model takes none.
    """
    _check_layout(decoder.layout)
    asked = decode_json(body, DecodeJson)
    if asked.crs is not None:
        raise NotImplementedHere("`crs`: no GeoJSON is made here; leave out `crs` and `bbox`")
    size = _checked_size(asked.image_shape)
    points, box = _prompt(asked, size)
    logits, scores = masks_of(decoder, [_features(asked.image_embeddings)], size, points, box)
    masks = [enlarge(mask, resized(size), size, max(size)) > 0 for mask in logits]
    return DecodedJson(np.stack(masks).tobytes(), scores.tolist())


def _check_layout(layout: Layout) -> None:
    if layout != SAM:
        raise NotImplementedHere("SAM 2 has no JSON: send the messages of inference/messages.py")


def _checked_size(size: Size) -> Size:
    if min(size) >= 1 and math.prod(size) > MAX_PIXELS:
        raise TooLarge("`image_shape` has more pixels than 2048 x 2048")
    if min(size) < 1 or min(resized(size)) < 1:
        raise BadRequest("`image_shape` is not the height and width of an image")
    return size


def _features(data: bytes) -> NDArray[np.float32]:
    (shape,) = SAM.features.values()
    try:
        features = np.frombuffer(data, "<f4").reshape(shape)
    except ValueError:
        raise BadRequest(f"`image_embeddings` is not float32 of {list(shape)}") from None
    if not np.isfinite(features).all():
        raise BadRequest("`image_embeddings` has a number that is not finite")
    return features


def _prompt(asked: DecodeJson, size: Size) -> tuple[list[Point], Region | None]:
    """Points and a box in parts of 1, as our own messages have them."""
    places = _places(asked.input_prompt, size)
    if asked.decode_type == "bbox":
        if len(places) != 2:
            raise BadRequest("`input_prompt` of a bbox is [x0, y0, x1, y1]")
        (x0, y0), (x1, y1) = places
        if not (x0 < x1 and y0 < y1):
            raise BadRequest("`input_prompt` of a bbox has x0 < x1 and y0 < y1")
        return [], (x0, y0, x1, y1)
    labels = asked.input_label if isinstance(asked.input_label, list) else [asked.input_label]
    if asked.decode_type == "single_point" and len(places) != 1:
        raise BadRequest("`input_prompt` of a single_point is [x, y]")
    if len(labels) != len(places):
        raise BadRequest(f"`input_label` has {len(labels)} labels for {len(places)} points")
    if not set(labels) <= {0, 1}:
        raise BadRequest("`input_label` is 1 inside what is sought, and 0 outside")
    return [(x, y, label) for (x, y), label in zip(places, labels, strict=True)], None


def _places(prompt: Sequence[Any], size: Size) -> list[tuple[float, float]]:
    """The points of a prompt in parts of 1; a box is its two corners."""
    flat = prompt if not any(isinstance(part, list) for part in prompt) else None
    pairs = [flat[place : place + 2] for place in range(0, len(flat), 2)] if flat else prompt
    if not 1 <= len(pairs) <= MAX_POINTS:
        raise BadRequest(f"`input_prompt` has {len(pairs)} points; 1 to {MAX_POINTS} are read")
    height, width = size
    places = []
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRequest(f"`input_prompt[{number}]` is no point [x, y]")
        x, y = pair[0] / width, pair[1] / height
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise BadRequest(f"`input_prompt[{number}]` is outside of the image")
        places.append((x, y))
    return places
