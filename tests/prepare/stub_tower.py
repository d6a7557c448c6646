"""A model that embeds an image as its own pixels, and notes which images it was given."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.files import content_hash
from common.wire import Matrix
from inference.clip import images
from inference.clip.images import Pixels, Preprocessing
from inference.clip.model import Model
from inference.messages import Logits

SPACE = "stub"
PREPROCESSING = Preprocessing(2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
MAX_PIXELS = 1000


class StubTower:
    """An image tower without a runtime; `fails_after` images it raises RuntimeError."""

    replicas, batch_size = {"cpu": 1}, 4

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.fails_after: int | None = None
        self._vectors: dict[str, bytes] = {}

    def embed(self, batch: Sequence[Pixels]) -> Matrix:
        """Unit vectors, float32 [images, 12]."""
        vectors = unit(batch)
        self.seen += [vector.tobytes() for vector in vectors]
        if self.fails_after is not None and len(self.seen) > self.fails_after:
            raise RuntimeError("the device has gone")
        return vectors

    def vector_of(self, file: bytes) -> bytes:
        """The bytes of the vector that an image file has."""
        content = content_hash(file)
        if content not in self._vectors:
            image = images.decode_for(file, PREPROCESSING, MAX_PIXELS)
            pixels = images.preprocess(image, PREPROCESSING)
            self._vectors[content] = unit([pixels])[0].tobytes()
        return self._vectors[content]

    def model(self) -> Model:
        """The model of this tower."""
        tower: Any = self
        return Model("stub", 12, SPACE, None, tower, PREPROCESSING, Logits(), None, "")


def unit(batch: Sequence[Pixels]) -> Matrix:
    """The pixels as rows of length 1."""
    rows = np.stack([pixels.ravel() for pixels in batch]).astype(np.float32)
    made: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made
