"""The region of an image: what is embedded is that part of it as shown, sharp."""

import io

import numpy as np
import pytest
from PIL import Image

from common.errors import BadRequest
from devtools.photos import turned
from inference.clip import images
from inference.clip.images import DRAFT, Preprocessing, decode_for
from inference.messages import Region

PIXELS = 50_000_000
SIZE = 16
PREPROCESSING = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def quarters(kind: str = "PNG", orientation: int = 1, scale: int = 10) -> bytes:
    """A picture of 4 to 3 of four colours; a camera that was turned saved it turned."""
    image = Image.new("RGB", (4 * scale, 3 * scale), "red")
    image.paste("lime", (2 * scale, 0, 4 * scale, 3 * scale // 2))
    image.paste("blue", (0, 3 * scale // 2, 2 * scale, 3 * scale))
    image.paste("white", (2 * scale, 3 * scale // 2, 4 * scale, 3 * scale))
    return turned(image, kind, orientation)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("region", "colour"),
    [
        ((0.05, 0.05, 0.45, 0.45), (255, 0, 0)),
        ((0.55, 0.05, 0.95, 0.45), (0, 255, 0)),
        ((0.05, 0.55, 0.45, 0.95), (0, 0, 255)),
        ((0.55, 0.55, 0.95, 0.95), (255, 255, 255)),
    ],
)
def test_a_region_is_of_the_upright_picture(
    orientation: int, region: Region, colour: tuple[int, int, int]
) -> None:
    """Each quarter has its colour alone, also where the camera was turned."""
    file = quarters("JPEG", orientation, scale=40)

    found = np.asarray(decode_for(file, PREPROCESSING, PIXELS, region=region), dtype=int)

    assert found.shape[:2] == (48, 64)
    assert np.abs(found - colour).max() < 10


def test_the_whole_as_a_region_is_the_picture() -> None:
    """Equal pixels."""
    whole = decode_for(quarters(), PREPROCESSING, PIXELS)
    region = decode_for(quarters(), PREPROCESSING, PIXELS, region=(0, 0, 1, 1))

    np.testing.assert_array_equal(whole, region)


def test_a_small_region_of_a_large_photo_is_sharp() -> None:
    """A JPEG that is decoded smaller keeps for the region the pixels that a whole picture has."""
    file = quarters("JPEG", scale=1000)

    whole = decode_for(file, PREPROCESSING, PIXELS)
    part = decode_for(file, PREPROCESSING, PIXELS, region=(0.4, 0.4, 0.43, 0.43))

    assert whole.size == (500, 375)  # an eighth, the least that libjpeg decodes
    assert min(part.size) >= DRAFT * SIZE


@pytest.mark.parametrize(
    "region", [(0, 0, 0.001, 0.001), (0.999, 0.999, 1, 1), (1 - 2**-30, 0, 1, 1)]
)
def test_the_smallest_region_has_a_pixel(region: Region) -> None:
    """Of a small picture: the pixel that the region touches."""
    assert 1 <= decode_for(quarters(scale=1), PREPROCESSING, PIXELS, region=region).width


def test_a_thin_region_is_refused() -> None:
    """Kind I: resized to the model's input, it would be gigabytes."""
    with pytest.raises(BadRequest, match="`region` has 40x1 pixels; 20:1 is the limit"):
        decode_for(quarters(), PREPROCESSING, PIXELS, region=(0, 0.5, 1, 0.501))


def test_what_is_embedded_is_the_crop() -> None:
    """The pixels for the model are those of the part, saved as a file of its own."""
    file = io.BytesIO()
    Image.open(io.BytesIO(quarters())).crop((10, 5, 40, 25)).save(file, "PNG")
    crop = decode_for(file.getvalue(), PREPROCESSING, PIXELS)

    part = decode_for(quarters(), PREPROCESSING, PIXELS, region=(0.25, 1 / 6, 1, 5 / 6))

    np.testing.assert_array_equal(
        images.preprocess(crop, PREPROCESSING), images.preprocess(part, PREPROCESSING)
    )
