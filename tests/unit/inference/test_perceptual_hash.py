"""The perceptual hash: of the look alone."""

import numpy as np
import pytest
from PIL import Image

from common.images.colours import MODES
from common.images.decode import decode
from devtools.photos import photo
from inference.clip.perceptual_hash import perceptual_hash


def bits(one: str, other: str) -> int:
    """In how many of 64 bits two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.fixture
def image() -> Image.Image:
    return decode(photo(3), 10**6)


def test_a_smaller_copy_hardly_changes_the_hash(image: Image.Image) -> None:
    """Another picture changes half of it."""
    smaller = image.resize((320, 213), Image.Resampling.LANCZOS)

    assert bits(perceptual_hash(image), perceptual_hash(smaller)) <= 4
    assert bits(perceptual_hash(image), perceptual_hash(decode(photo(4), 10**6))) > 16


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_of_an_image_does_not_change_the_hash(image: Image.Image, mode: str) -> None:
    """Of one in grey, which has all modes alike but for CMYK's inks."""
    grey = image.convert("L").convert("RGB")

    assert bits(perceptual_hash(grey), perceptual_hash(grey.convert(mode))) <= 2


def test_the_hash_is_that_of_the_mean_of_each_field(image: Image.Image) -> None:
    """Of 32 by 32 fields, as Zauner's pHash; up to rounding."""
    fields = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), float)
    cosines = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))
    frequencies = cosines @ fields @ cosines.T
    expected = np.packbits(frequencies.ravel() > np.median(frequencies)).tobytes().hex()

    assert bits(expected, perceptual_hash(image)) <= 2
