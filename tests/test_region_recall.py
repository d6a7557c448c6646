"""What a region is for: on a picture of two things, each is found by its own part."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.config import Inference
from common.wire import Matrix
from devtools.services import CHECKOUT
from inference.clip.model import Model, load_model
from inference.messages import Point, Region
from inference.segment.grabcut import SIDE, cut_out
from inference.segment.masks import box_of

SAMPLES = sorted((CHECKOUT / "samples").glob("*.jpg"))
PAIRS = 20
SIZE = (480, 480)
HALVES: tuple[Region, Region] = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
CLICKS: tuple[Point, Point] = ((0.25, 0.5, 1), (0.75, 0.5, 1))


@pytest.fixture(scope="module")
def model() -> Model:
    """The starter in this process."""
    return load_model("starter", text=False)


@pytest.fixture(scope="module")
def index(model: Model) -> Matrix:
    """The vectors of all samples."""
    return model.encode_images([path.read_bytes() for path in SAMPLES])


def composite(pair: Sequence[Path]) -> bytes:
    """A JPEG of two photos side by side, each squeezed to a square."""
    both = Image.new("RGB", (2 * SIZE[0], SIZE[1]))
    for place, path in enumerate(pair):
        with Image.open(path) as photo:
            both.paste(photo.convert("RGB").resize(SIZE), (place * SIZE[0], 0))
    file = io.BytesIO()
    both.save(file, "JPEG", quality=90)
    return file.getvalue()


def clicked(file: bytes, point: Point) -> Region:
    """The box of what a click finds without a model."""
    with Image.open(io.BytesIO(file)) as image:
        image.thumbnail((SIDE, SIDE))
        return box_of(cut_out(image, [point], None))


def test_each_half_of_a_composite_finds_its_photo_first(model: Model, index: Matrix) -> None:
    """By its half at least 38 of 40, by a click on it at least 34.

    A search by all of the picture finds one of the two, or neither.
    """

    def first(file: bytes, region: Region | None) -> int:
        assert model.image is not None
        pixels = model.preprocess(file, Inference().max_pixels, region=region)
        return int(np.argmax(model.image.embed([pixels]) @ index.T))

    found = {"whole picture": 0, "region": 0, "click": 0}
    for number in range(PAIRS):
        places = (number, number + PAIRS)
        file = composite([SAMPLES[place] for place in places])
        whole = first(file, None)
        for place, half, click in zip(places, HALVES, CLICKS, strict=True):
            found["whole picture"] += whole == place
            found["region"] += first(file, half) == place
            found["click"] += first(file, clicked(file, click)) == place

    print(f"first of {2 * PAIRS}: {found}")
    assert found["region"] >= 38
    assert found["click"] >= 34
    assert found["whole picture"] < found["click"]
