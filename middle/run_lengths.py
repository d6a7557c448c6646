"""The masks of segments as run lengths."""

import io

import numpy as np
from PIL import Image

from common.errors import InvalidResponse
from middle.segment_messages import RunLengths


def run_lengths(png: bytes) -> RunLengths:
    """The run lengths of a PNG of one bit; raises InvalidResponse for another file.

    As COCO has them (cocoapi, PythonAPI/pycocotools/mask.py), not compressed.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("1")).ravel(order="F")
    except (OSError, SyntaxError, ValueError):
        raise InvalidResponse("a server behind this one gave no proper mask") from None
    changes = np.flatnonzero(np.diff(pixels, prepend=False))
    counts = np.diff(changes, prepend=0, append=len(pixels))
    return {"size": [image.height, image.width], "counts": counts.tolist()}
