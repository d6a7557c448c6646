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
from inference.segment.sam_layout import SAM, SAM2, SIDE

VERSION = 1
"""The version of the preprocessing. Increase this number if an image would have other features."""
MEAN = np.array((123.675, 116.28, 103.53), np.float32)[:, None, None]
STD = np.array((58.395, 57.12, 57.375), np.float32)[:, None, None]
POSITIONS = "image_positional_embeddings"


class SamEncoder:
    """An encoder, whose inputs and outputs tell its layout. One thread at a time may call it.

    `input_image` [height, width, 3], RGB 0 to 255, is an encoder that normalises and pads, as in
    MobileSAM by Acly and in samexporter. Any other input is [1, 3, 1024, 1024], normalised and
    padded here, as in transformers.js and in SAM 2.
    """

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Raises ConfigError."""
        self._session = OnnxSession(path, options)
        self.device = options.device
        if len(self._session.inputs) != 1:
            raise ConfigError(f"{path} has {len(self._session.inputs)} inputs: no encoder of SAM")
        (self._input,) = self._session.inputs
        names = self._session.outputs
        self.layout = SAM2 if set(SAM2.features) <= set(names) else SAM
        self._outputs = [name for name in self.layout.features if name in names] or [names[0]]
        known = [name for name in names if name == POSITIONS]
        found = self._run(Image.new("RGB", (SIDE, SIDE)), self._outputs + known)
        given = [values.shape for values in found[: len(self._outputs)]]
        if given != (shapes := [*self.layout.features.values()]):
            raise ConfigError(f"{path} gives features {given}, not {shapes}")
        self.positions = found[-1] if known else None
        """What the decoder takes too, the same for each image, if the encoder tells it."""

    def encode(self, image: Image.Image) -> list[Pixels]:
        """The features of an upright RGB or L image: float32, as its layout says.

        Raises ServiceError for features that are no finite numbers.
        """
        features = self._run(image, self._outputs)
        if not all(np.isfinite(values).all() for values in features):
            raise ServiceError("the model gave no finite features for this image", "no_embedding")
        return features

    def _run(self, image: Image.Image, outputs: list[str]) -> list[Pixels]:
        height, width = self.layout.resized((image.height, image.width))
        small = resize(image.convert("RGB"), (width, height), "bilinear")
        rgb = np.asarray(small, dtype=np.float32)
        pixels = rgb if len(self._input.shape) == 3 else normalise(rgb)
        return self._session.run_named({self._input.name: pixels}, outputs)


def normalise(rgb: NDArray[np.float32]) -> Pixels:
    """(x - mean) / std of [height, width, 3], with zeros right and below: [1, 3, SIDE, SIDE]."""
    pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)
    height, width, _ = rgb.shape
    pixels[0, :, :height, :width] = (rgb.transpose(2, 0, 1) - MEAN) / STD
    return pixels
