"""The mask decoder of Segment Anything: from features and a prompt to a mask."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, NotImplementedHere, Unprocessable, first_line
from common.wire import Matrix
from inference.clip.images import Pixels
from inference.clip.session import SessionOptions
from inference.messages import Point, Region
from inference.runtimes.onnx_runtime import OnnxSession
from inference.segment.masks import Mask
from inference.segment.sam_encoder import POSITIONS
from inference.segment.sam_layout import SAM, SAM2, SIDE, Features, Layout, Size

MASK_SIDE = 256
"""The side of the square masks that a decoder gives; one is enlarged here, which costs less."""
MAX_MASK_SIDE = 1024
"""The longer side of an enlarged mask, at most, in pixels."""
PADDING = -1
CORNERS = (2, 3)
"""The labels of the decoder for no point, and for the two corners of a box."""
NO_MASK: Mapping[str, NDArray[Any]] = MappingProxyType(
    {
        "mask_input": np.zeros((1, 1, MASK_SIDE, MASK_SIDE)),
        "has_mask_input": np.zeros(1),
        "orig_im_size": np.array([MASK_SIDE, MASK_SIDE]),
    }
)
"""No mask of an earlier round; and the masks that a decoder enlarges are as small as can be."""

Prompt = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Coordinates [n, 2] in pixels of the image whose longer side is `SIDE`, and labels [n]."""


class Found(NamedTuple):
    """The mask of a prompt, and its quality as the model expects it, 0 to 1."""

    mask: Mask
    score: float


class SamDecoder(Protocol):
    """A decoder in one layout. Any number of threads may call it."""

    layout: Layout
    takes_box: bool

    def run(self, features: Features, prompt: Prompt) -> tuple[Matrix, Matrix]:
        """The logits of masks [n, MASK_SIDE, MASK_SIDE], and the score of each [n]."""


def open_decoder(path: Path, options: SessionOptions, positions: Pixels | None) -> SamDecoder:
    """Open a decoder and run it once; raises ConfigError.

    `positions` is what the encoder of the model tells beside the features.
    """
    session = OnnxSession(path, options)
    names = {found.name for found in session.inputs}
    kind: type[MetaDecoder | TransformersDecoder | Sam2Decoder] = TransformersDecoder
    if "point_coords" in names:
        kind = Sam2Decoder if names >= set(SAM2.features) else MetaDecoder
    try:
        decoder = kind(session, positions)
        empty = [np.zeros(shape) for shape in kind.layout.features.values()]
        decoder.run(empty, prompt_arrays((SIDE, SIDE), [(0.5, 0.5, 1)], None))
    except Exception as error:  # ONNX Runtime's errors have no other class in common
        raise ConfigError(f"{path} is no decoder of SAM: {first_line(error)}") from None
    return decoder


def segment(
    decoder: SamDecoder,
    features: Features,
    size: Size,
    points: Sequence[Point],
    box: Region | None,
) -> Found:
    """The mask of a prompt on an image of a size; raises a ServiceError.

    It is Unprocessable where the model finds nothing, and NotImplementedHere for a box where the
    model takes none.
    """
    masks, scores = masks_of(decoder, features, size, points, box)
    chosen = choose(scores, is_click=len(points) == 1 and not box)
    mask = enlarge(masks[chosen], decoder.layout.resized(size), size) > 0
    if not mask.any():
        raise Unprocessable("the model finds nothing there: send another prompt", "no_segment")
    return Found(mask, float(np.clip(scores[chosen], 0, 1)))


def masks_of(
    decoder: SamDecoder,
    features: Features,
    size: Size,
    points: Sequence[Point],
    box: Region | None,
) -> tuple[Matrix, Matrix]:
    """All masks of a prompt, as `SamDecoder.run`; raises NotImplementedHere as `segment` does."""
    if box and not decoder.takes_box:
        raise NotImplementedHere("this model takes no `box`: send `points`", "no_box_prompt")
    return decoder.run(features, prompt_arrays(decoder.layout.resized(size), points, box))


class MetaDecoder:
    """The layout of Meta's own export, which samexporter and MobileSAM by Acly have too."""

    layout, takes_box = SAM, True

    def __init__(self, session: OnnxSession, _positions: Pixels | None) -> None:
        self._session = session

    def run(self, features: Features, prompt: Prompt) -> tuple[Matrix, Matrix]:
        """As `SamDecoder.run`."""
        coordinates, labels = prompt
        feed = {
            "image_embeddings": features[0],
            "point_coords": coordinates[None],
            "point_labels": labels[None],
            **NO_MASK,
        }
        return _run(self._session, feed, ["low_res_masks", "iou_predictions"])


class Sam2Decoder:
    """The layout of SAM 2 as samexporter writes it."""

    layout, takes_box = SAM2, True

    def __init__(self, session: OnnxSession, _positions: Pixels | None) -> None:
        self._session = session
        self._masks = "low_res_masks" if "low_res_masks" in session.outputs else "masks"

    def run(self, features: Features, prompt: Prompt) -> tuple[Matrix, Matrix]:
        """As `SamDecoder.run`. The network itself adds the point of no meaning."""
        coordinates, labels = prompt
        given = labels != PADDING
        feed = {
            **dict(zip(SAM2.features, features, strict=True)),
            "point_coords": coordinates[given][None],
            "point_labels": labels[given][None],
            **NO_MASK,
        }
        return _run(self._session, feed, [self._masks, "iou_predictions"])


class TransformersDecoder:
    """The layout of transformers.js, which takes points alone."""

    layout, takes_box = SAM, False

    def __init__(self, session: OnnxSession, positions: Pixels | None) -> None:
        if positions is None:
            raise ConfigError(f"its encoder has no output {POSITIONS}")
        self._session = session
        self._positions = positions

    def run(self, features: Features, prompt: Prompt) -> tuple[Matrix, Matrix]:
        """As `SamDecoder.run`. The network itself adds the point of no meaning."""
        coordinates, labels = prompt
        given = labels != PADDING
        feed = {
            "image_embeddings": features[0],
            POSITIONS: self._positions,
            "input_points": coordinates[given][None, None],
            "input_labels": labels[given][None, None],
        }
        return _run(self._session, feed, ["pred_masks", "iou_scores"])


def _run(
    session: OnnxSession, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> tuple[Matrix, Matrix]:
    """Masks and scores; an input that the layout does not have is a KeyError."""
    given = {found.name: feed[found.name].astype(found.dtype) for found in session.inputs}
    masks, scores = session.run_named(given, outputs)
    return masks.reshape(-1, *masks.shape[-2:]), scores.reshape(-1)


def prompt_arrays(content: Size, points: Sequence[Point], box: Region | None) -> Prompt:
    """Points, then the corners of a box; without a box a point of no meaning, as Meta asks for.

    `content` is the part of the square that the image fills.
    """
    coordinates = [(x, y) for x, y, _ in points]
    labels = [label for _, _, label in points]
    if box:
        coordinates += [box[:2], box[2:]]
        labels += CORNERS
    else:
        coordinates.append((0.0, 0.0))
        labels.append(PADDING)
    height, width = content
    scaled = np.array(coordinates, np.float32) * np.array([width, height], np.float32)
    return scaled, np.array(labels, np.float32)


def choose(scores: Matrix, *, is_click: bool) -> int:
    """The mask to take, by Meta's rule (Kirillov et al., 2023, arXiv:2304.02643, appendix A).

    The first of four masks is for a prompt of several parts. A click alone may mean a thing, its
    part or what it is part of, and the other three are these. Decoders with fewer masks have
    left out the first.
    """
    if len(scores) < 4:
        return int(np.argmax(scores))
    return 1 + int(np.argmax(scores[1:])) if is_click else 0


def enlarge(logits: Matrix, content: Size, size: Size, most: int = MAX_MASK_SIDE) -> Matrix:
    """The mask of a square without its padding, in the shape of an image of `size`.

    `content` is the part of the square that the image fills. The longer side of the mask has at
    most `most` pixels.
    Bilinear, as in SAM's own code: first to `SIDE`, then to the shape of the image.
    """
    scale = min(1, most / max(size))
    for filled, side in zip(content, size, strict=True):  # rows, then columns
        count = max(1, round(side * scale))
        logits = _stretch(_stretch(logits, SIDE)[:filled], count).T
    return logits


def _stretch(rows: Matrix, count: int) -> Matrix:
    """`count` rows, each between the two that are nearest to its place; half pixels at the ends."""
    places = ((np.arange(count) + 0.5) * (len(rows) / count) - 0.5).clip(0, len(rows) - 1)
    first = places.astype(np.intp)
    second = np.minimum(first + 1, len(rows) - 1)
    part = (places - first).astype(np.float32)[:, None]
    return rows[first] + (rows[second] - rows[first]) * part
