"""Photographs for benchmarks and tests, always the same for the same number."""

import functools
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from common.config import CHECKOUT

SAMPLES = sorted((CHECKOUT / "samples").glob("*.jpg"))
LONG_SIDE = 640
QUALITY = 85


def photo(number: int, long_side: int = LONG_SIDE) -> bytes:
    """The JPEG file of a number: a crop of a sample, whose place and size the number decides."""
    image = _sample(SAMPLES[number % len(SAMPLES)])
    random = np.random.default_rng(number)
    scale = random.uniform(0.5, 0.95)
    width, height = (round(scale * side) for side in image.size)
    left, top = random.integers(0, (image.width - width, image.height - height), endpoint=True)
    box = (left, top, left + width, top + height)
    ratio = long_side / max(width, height)
    size = (round(ratio * width), round(ratio * height))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR, box).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


@functools.cache
def _sample(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def write_photos(folder: Path, count: int, long_side: int = LONG_SIDE) -> list[Path]:
    """Write the missing ones of the photos 0 to `count` - 1; returns the paths of all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06}.jpg" for number in range(count)]

    def write(number: int) -> None:
        paths[number].write_bytes(photo(number, long_side))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, [number for number in range(count) if not paths[number].exists()]))
    return paths


def turned(image: Image.Image, kind: str, orientation: int) -> bytes:
    """The file of a camera that was held so; `orientation` is that of EXIF, 1 or 6."""
    if orientation == 6:
        image = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, quality=95)
    return file.getvalue()
