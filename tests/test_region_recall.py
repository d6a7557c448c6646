"""What a region is for: on a picture of two things, each is found by its own part."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.config import Inference
from devtools.services import CHECKOUT
from inference.clip.model import Model, load_model

SAMPLES = sorted((CHECKOUT / "samples").glob("*.jpg"))
PAIRS = 20
SIZE = (480, 480)
HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def model() -> Model:
    """The starter in this process."""
    return load_model("starter", text=False)


def composite(pair: tuple[Path, Path]) -> bytes:
    """A JPEG of two photos side by side, each squeezed to a square."""
    both = Image.new("RGB", (2 * SIZE[0], SIZE[1]))
    for place, path in enumerate(pair):
        with Image.open(path) as photo:
            both.paste(photo.convert("RGB").resize(SIZE), (place * SIZE[0], 0))
    file = io.BytesIO()
    both.save(file, "JPEG", quality=90)
    return file.getvalue()


def test_each_half_of_a_composite_finds_its_photo_first(model: Model) -> None:
    """At least 38 of 40 halves; a search by all of the picture finds one of the two, or neither."""
    assert model.image is not None
    index = model.encode_images([path.read_bytes() for path in SAMPLES])
    right = whole = 0
    for number in range(PAIRS):
        places = (number, number + PAIRS)
        file = composite((SAMPLES[places[0]], SAMPLES[places[1]]))
        limit = Inference().max_pixels
        parts = [model.preprocess(file, limit, region=half) for half in HALVES]
        found = np.argmax(model.image.embed(parts) @ index.T, axis=1)
        right += sum(found == places)
        whole += int(np.argmax(model.encode_images([file]) @ index.T)) in places

    print(f"first of {2 * PAIRS}: {right} by region, {whole} by the whole picture")
    assert right >= 38
    assert whole < right
