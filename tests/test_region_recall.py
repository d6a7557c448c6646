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
from prepare.regions import GRID

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


def vectors_of(model: Model, file: bytes, regions: Sequence[Region | None]) -> Matrix:
    """The vectors of regions of a file."""
    assert model.image is not None
    max_pixels = Inference().max_pixels
    return model.image.embed([model.preprocess(file, max_pixels, region=one) for one in regions])


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
        return int(np.argmax(vectors_of(model, file, [region]) @ index.T))

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


def test_an_indexed_composite_is_found_by_each_of_its_photos(model: Model, index: Matrix) -> None:
    """With the grid's regions more than twice as often as whole, first among the other samples."""
    files = [composite([SAMPLES[number], SAMPLES[number + PAIRS]]) for number in range(PAIRS)]
    files += [path.read_bytes() for path in SAMPLES[2 * PAIRS :]]
    parts = np.stack([vectors_of(model, file, [None, *GRID]) for file in files])
    scores = np.einsum("qd,cpd->qcp", index[: 2 * PAIRS], parts)
    wanted = np.arange(2 * PAIRS) % PAIRS

    whole = int((scores[:, :, 0].argmax(axis=1) == wanted).sum())
    grid = int((scores.max(axis=2).argmax(axis=1) == wanted).sum())

    print(f"first of {2 * PAIRS}: whole {whole}, grid {grid}")
    assert grid >= 26
    assert 2 * whole < grid
