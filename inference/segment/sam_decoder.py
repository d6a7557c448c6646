"""The mask decoder of Segment Anything: from features and a prompt to a mask."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import ConfigError, NotImplementedHere, Unprocessable
from common.wire import Matrix
from inference.clip.images import Pixels
from inference.clip.session import SessionOptions
from inference.messages import Point, Region
from inference.runtimes.onnx_runtime import OnnxSession
from inference.segment.masks import Mask
from inference.segment.sam_encoder import FEATURES, POSITIONS, SIDE, Size, resized

MASK_SIDE = 256
"""The side of the square masks that a decoder gives; one is enlarged here, which costs less."""
MAX_MASK_SIDE = 1024
"""The longer side of an enlarged mask, at most."""
PADDING = -1
CORNERS = (2, 3)
"""The labels of the decoder for no point, and for the two corners of a box."""

Prompt = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Coordinates [n, 2] in pixels of the image whose longer side is `SIDE`, and labels [n]."""


class Found(NamedTuple):
    """The mask of a prompt, and its quality as the model expects it, 0 to 1."""

    mask: Mask
    score: float


class SamDecoder(Protocol):
    """A decoder in one layout. Any number of threads may call it."""

    def decode(
        self, features: NDArray[Any], size: Size, points: Sequence[Point], box: Region | None
    ) -> Found:
        """The mask of a prompt on an image of a size; raises a ServiceError.

        It is Unprocessable where the model finds nothing, and NotImplementedHere for a box where
        the model takes none.
        """


def open_decoder(path: Path, options: SessionOptions, positions: Pixels | None) -> SamDecoder:
    """Open a decoder and run it once; raises ConfigError.

    `positions` is what the encoder of the model tells beside the features.
    """
    session = OnnxSession(path, options)
    names = {found.name for found in session.inputs}
    kind = MetaDecoder if "point_coords" in names else TransformersDecoder
    try:
        decoder = kind(session, positions)
        decoder.run(np.zeros(FEATURES, np.float32), np.zeros((2, 2)), np.array([1, PADDING]))
    except Exception as error:  # ONNX Runtime's errors have no other class in common
        raise ConfigError(f"{path} is no decoder of SAM: {str(error).splitlines()[0]}") from None
    return decoder


class MetaDecoder:
    """The layout of Meta's own export, which samexporter and MobileSAM by Acly have too."""

    def __init__(self, session: OnnxSession, _positions: Pixels | None) -> None:
        self._session = session

    def decode(
        self, features: NDArray[Any], size: Size, points: Sequence[Point], box: Region | None
    ) -> Found:
        """As `SamDecoder.decode`."""
        return _found(*self.run(features, *prompt_arrays(size, points, box)), size, points, box)

    def run(
        self, features: NDArray[Any], coordinates: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[Matrix, Matrix]:
        """The logits of the masks, and their scores."""
        feed = {
            "image_embeddings": features,
            "point_coords": coordinates[None],
            "point_labels": labels[None],
            "mask_input": np.zeros((1, 1, MASK_SIDE, MASK_SIDE)),
            "has_mask_input": np.zeros(1),
            "orig_im_size": np.array([MASK_SIDE, MASK_SIDE]),
        }
        return _run(self._session, feed, ["low_res_masks", "iou_predictions"])


class TransformersDecoder:
    """The layout of transformers.js, which takes points alone."""

    def __init__(self, session: OnnxSession, positions: Pixels | None) -> None:
        if positions is None:
            raise ConfigError(f"its encoder has no output {POSITIONS}")
        self._session = session
        self._positions = positions

    def decode(
        self, features: NDArray[Any], size: Size, points: Sequence[Point], box: Region | None
    ) -> Found:
        """As `SamDecoder.decode`. The network itself adds the point of no meaning."""
        if box:
            raise NotImplementedHere("this model takes no `box`: send `points`", "no_box_prompt")
        coordinates, labels = prompt_arrays(size, points, box)
        return _found(*self.run(features, coordinates[:-1], labels[:-1]), size, points, box)

    def run(
        self, features: NDArray[Any], coordinates: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[Matrix, Matrix]:
        """The logits of the masks, and their scores."""
        feed = {
            "image_embeddings": features,
            POSITIONS: self._positions,
            "input_points": coordinates[None, None],
            "input_labels": labels[None, None],
        }
        return _run(self._session, feed, ["pred_masks", "iou_scores"])


def _run(
    session: OnnxSession, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> tuple[Matrix, Matrix]:
    """Masks [n, MASK_SIDE, MASK_SIDE] and scores [n]; an input the layout lacks is a KeyError."""
    given = {found.name: feed[found.name].astype(found.dtype) for found in session.inputs}
    masks, scores = session.run_named(given, outputs)
    return masks.reshape(-1, *masks.shape[-2:]), scores.reshape(-1)


def prompt_arrays(size: Size, points: Sequence[Point], box: Region | None) -> Prompt:
    """Points, then the corners of a box; without a box a point of no meaning, as Meta asks for."""
    coordinates = [(x, y) for x, y, _ in points]
    labels = [label for _, _, label in points]
    if box:
        coordinates += [box[:2], box[2:]]
        labels += CORNERS
    else:
        coordinates.append((0.0, 0.0))
        labels.append(PADDING)
    height, width = resized(size)
    scaled = np.array(coordinates, np.float32) * np.array([width, height], np.float32)
    return scaled, np.array(labels, np.float32)


def _found(
    masks: Matrix, scores: Matrix, size: Size, points: Sequence[Point], box: Region | None
) -> Found:
    chosen = choose(scores, is_click=len(points) == 1 and not box)
    mask = enlarge(masks[chosen], size) > 0
    if not mask.any():
        raise Unprocessable("the model finds nothing there: send another prompt", "no_segment")
    return Found(mask, float(np.clip(scores[chosen], 0, 1)))


def choose(scores: Matrix, *, is_click: bool) -> int:
    """The mask to take, by Meta's rule (Kirillov et al., 2023, arXiv:2304.02643, appendix A).

    The first of four masks is for a prompt of several parts. A click alone may mean a thing, its
    part or what it is part of, and the other three are these. Decoders with fewer masks have
    left out the first.
    """
    if len(scores) < 4:
        return int(np.argmax(scores))
    return 1 + int(np.argmax(scores[1:])) if is_click else 0


def enlarge(logits: Matrix, size: Size) -> Matrix:
    """A square mask without its padding, in the shape of an image of `size`, bilinear."""
    scale = min(1, MAX_MASK_SIDE / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    bottom, right = (side * len(logits) / SIDE for side in resized(size))
    image = Image.fromarray(np.ascontiguousarray(logits))
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, height), bilinear, box=(0, 0, right, bottom)))
