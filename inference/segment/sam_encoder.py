"""The image encoder of Segment Anything: from an image to the features of its parts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import ConfigError, ServiceError
from inference.clip.images import Pixels
from inference.clip.resizing import resize
from inference.clip.session import SessionOptions
from inference.runtimes.onnx_runtime import OnnxSession

VERSION = 1
"""The version of the preprocessing. Increase this number if an image would have other features."""
SIDE = 1024
"""The longer side that an image is resized to, in pixels."""
FEATURES = (1, 256, 64, 64)
"""The shape of an image's features: 256 numbers for each cell of a grid over a square."""
MEAN = np.array((123.675, 116.28, 103.53), np.float32)[:, None, None]
STD = np.array((58.395, 57.12, 57.375), np.float32)[:, None, None]
POSITIONS = "image_positional_embeddings"

Size = tuple[int, int]
"""Height and width, in pixels."""


class SamEncoder:
    """An encoder in one of two layouts, told by its input. One thread at a time may call it.

    `input_image` [height, width, 3], RGB 0 to 255, is an encoder that normalises and pads, as in
    MobileSAM by Acly and in samexporter. Any other input is [1, 3, 1024, 1024], normalised and
    padded here, as in transformers.js.
    """

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Raises ConfigError."""
        self._session = OnnxSession(path, options)
        self.device = options.device
        if len(self._session.inputs) != 1:
            raise ConfigError(f"{path} has {len(self._session.inputs)} inputs: no encoder of SAM")
        (self._input,) = self._session.inputs
        names = self._session.outputs
        features = "image_embeddings" if "image_embeddings" in names else names[0]
        outputs = [features, *(name for name in names if name == POSITIONS)]
        found, *positions = self._run(Image.new("RGB", (SIDE, SIDE)), outputs)
        if found.shape != FEATURES:
            raise ConfigError(f"{path} gives features {list(found.shape)}, not {list(FEATURES)}")
        self._outputs = outputs[:1]
        self.positions = positions[0] if positions else None
        """What the decoder takes too, the same for each image, if the encoder tells it."""

    def encode(self, image: Image.Image) -> Pixels:
        """The features of an upright RGB or L image: float32, of the shape `FEATURES`.

        Raises ServiceError for features that are no finite numbers.
        """
        (features,) = self._run(image, self._outputs)
        if not np.isfinite(features).all():
            raise ServiceError("the model gave no finite features for this image", "no_embedding")
        return features

    def _run(self, image: Image.Image, outputs: list[str]) -> list[Pixels]:
        height, width = resized((image.height, image.width))
        small = resize(image.convert("RGB"), (width, height), "bilinear")
        rgb = np.asarray(small, dtype=np.float32)
        pixels = rgb if len(self._input.shape) == 3 else normalise(rgb)
        return self._session.run_named({self._input.name: pixels}, outputs)


def resized(size: Size) -> Size:
    """The height and width of an image whose longer side becomes `SIDE`, as in SAM's own code."""
    height, width = (int(side * (SIDE / max(size)) + 0.5) for side in size)
    return height, width


def normalise(rgb: NDArray[np.float32]) -> Pixels:
    """(x - mean) / std of [height, width, 3], with zeros right and below: [1, 3, SIDE, SIDE]."""
    pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)
    height, width, _ = rgb.shape
    pixels[0, :, :height, :width] = (rgb.transpose(2, 0, 1) - MEAN) / STD
    return pixels


def pack(features: Pixels) -> bytes:
    """Features as float16, little-endian."""
    return features.astype("<f2").tobytes()


def unpack(data: bytes) -> NDArray[np.float16]:
    """Features of the shape `FEATURES` of bytes from `pack`; raises ValueError."""
    return np.frombuffer(data, "<f2").reshape(FEATURES)
