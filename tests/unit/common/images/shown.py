"""A picture, and what the one reader and the thumbnails make of its files."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from common.images.decode import decode
from common.images.renditions import render

MAX_PIXELS = 1_000_000


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture that differs in every corner."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    bands = [across, down, (across + down) / 2]
    return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def shown(data: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    """The pixels that are embedded, which the thumbnail must show, too; 500 pixels at most."""
    image = decode(data, MAX_PIXELS)
    image.thumbnail((500, 500))
    embedded = pixels(image)
    thumbnail = pixels(Image.open(io.BytesIO(render(data, 500, MAX_PIXELS))))
    assert embedded.shape == thumbnail.shape
    assert abs(embedded - thumbnail).mean() < 4  # it is a JPEG
    return embedded


WIDE = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
"""The primaries of Display P3, which phones write, as XYZ under D50."""


def profile_of(primaries: list[tuple[float, float, float]], gamma: float = 2.2) -> bytes:
    """A colour profile of a display (ICC.1:2022)."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x" + bytes(79)}
    tags |= {b"cprt": b"text" + bytes(8), b"wtpt": xyz((0.9642, 1, 0.8249))}
    for name, values in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": xyz(values), name + b"TRC": curve}
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I", start + len(body)) + bytes(4) + b"\2\x40\0\0mntrRGB XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + xyz((0.9642, 1, 0.8249))[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body
