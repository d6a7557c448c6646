"""The perceptual hash of an image: nearly the same for images that look the same."""

import numpy as np
from PIL import Image

from inference.clip.resizing import resize

_SIDE = 32
_KEPT = 8
# The first rows of the type II discrete cosine transform: the low frequencies.
_COSINES = np.cos(np.pi / _SIDE * np.outer(np.arange(_KEPT), np.arange(_SIDE) + 0.5))


def perceptual_hash(image: Image.Image) -> str:
    """64 bits that stay nearly the same when an image is scaled or compressed, in hex.

    A bit is 1 where a low frequency exceeds the median of all: "pHash", Zauner, 2010.
    """
    opaque = image if image.mode in ("RGB", "L") else image.convert("RGB")
    grey = resize(opaque, (_SIDE, _SIDE), "box").convert("L")
    frequencies = _COSINES @ np.asarray(grey, dtype=np.float64) @ _COSINES.T
    bits = frequencies.ravel() > np.median(frequencies)
    return np.packbits(bits).tobytes().hex()
