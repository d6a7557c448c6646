"""What the encoder and the decoder of a Segment Anything model agree on, and how it is sent."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 1024
"""The longer side that an image is resized to, in pixels."""

Size = tuple[int, int]
"""Height and width, in pixels."""
Features = Sequence[NDArray[Any]]
"""What an encoder gives for an image, in the order of `Layout.features`."""


class Layout(NamedTuple):
    """A generation of Segment Anything."""

    features: Mapping[str, tuple[int, ...]]
    """The shape of each array that the decoder takes for an image, by its name there."""
    stretches: bool
    """Whether an image is stretched to a square; else it is padded, right and below."""

    def resized(self, size: Size) -> Size:
        """The part of the square that an image of a size fills."""
        return (SIDE, SIDE) if self.stretches else resized(size)

    def pack(self, features: Features) -> bytes:
        """Features as float16, little-endian, one after the other."""
        return b"".join(values.astype("<f2").tobytes() for values in features)

    def unpack(self, data: bytes) -> Features:
        """The features in bytes from `pack`, float16; raises ValueError."""
        found, at = [], 0
        for shape in self.features.values():
            count = int(np.prod(shape))
            found.append(np.frombuffer(data, "<f2", count, at).reshape(shape))
            at += 2 * count
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes are too many")
        return found


SAM = Layout(MappingProxyType({"image_embeddings": (1, 256, 64, 64)}), stretches=False)
"""256 numbers for each cell of a grid over the square: Kirillov et al., 2023, arXiv:2304.02643."""
SAM2 = Layout(
    MappingProxyType(
        {
            "image_embed": (1, 256, 64, 64),
            "high_res_feats_0": (1, 32, 256, 256),
            "high_res_feats_1": (1, 64, 128, 128),
        }
    ),
    stretches=True,
)
"""Two finer grids beside it: Ravi et al., 2024, arXiv:2408.00714, as samexporter exports it."""


def resized(size: Size) -> Size:
    """The height and width of an image whose longer side becomes `SIDE`, as in SAM's own code."""
    height, width = (int(side * (SIDE / max(size)) + 0.5) for side in size)
    return height, width
