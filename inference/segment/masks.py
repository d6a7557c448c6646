"""Masks of segments: their box, and their PNG file."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.messages import Region

Mask = NDArray[np.bool_]
"""bool [height, width] in the shape of an upright image; at least one pixel is True."""


def box_of(mask: Mask) -> Region:
    """The smallest region that holds a mask."""
    height, width = mask.shape
    (rows,), (columns,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def png_of(mask: Mask) -> bytes:
    """A mask as a PNG of one bit: white inside."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()
