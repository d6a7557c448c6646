"""Preprocessing."""

import io

import msgspec
import numpy as np
import pytest
from PIL import Image

from common.images.decode import decode
from inference.clip.images import (
    OPENAI_MEAN,
    OPENAI_STD,
    Preprocessing,
    decode_for,
    preprocess,
)

MAX_PIXELS = 1_000_000
HOW = Preprocessing(size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture that differs in every corner."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    bands = [across, down, (across + down) / 2]
    return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (32, 32), (33, 500), (8, 8)])
def test_the_tower_gets_its_size(size: tuple[int, int]) -> None:
    """Any shape becomes float32 [3, 32, 32], normalised."""
    values = preprocess(picture(*size), HOW)

    assert values.shape == (3, 32, 32)
    assert np.float32 == values.dtype
    assert -2 <= values.min() <= values.max() <= 2


def test_preprocessing_is_resize_crop_and_normalise() -> None:
    """Shorter side to size, the centre kept, then (x / 255 - mean) / std."""
    expected = picture(96, 64).resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))
    values = preprocess(picture(96, 64), HOW)

    steps = abs(values.transpose(1, 2, 0) - (np.asarray(expected) / 255 - 0.5) / 0.25) * 255 * 0.25
    assert steps.max() < 2.01


def test_normalising_is_the_formula_to_the_last_bit() -> None:
    """x / (255 std) - mean / std in float32, for each value of each channel."""
    how = Preprocessing(size=16, mean=OPENAI_MEAN, std=OPENAI_STD)
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([values, values[::-1], values.T], axis=2))
    scale = 1 / (255 * np.array(OPENAI_STD, dtype=np.float32))
    shift = np.array(OPENAI_MEAN, dtype=np.float32) / np.array(OPENAI_STD, dtype=np.float32)

    expected = (np.asarray(image, dtype=np.float32) * scale - shift).transpose(2, 0, 1)

    found = preprocess(image, how)
    assert found.tobytes() == expected.tobytes()
    assert found.flags.c_contiguous


def test_a_large_jpeg_decoded_small_gives_nearly_the_same_pixels() -> None:
    """Draft decoding at twice the size that is needed changes a smooth picture hardly at all."""
    data = saved(picture(1200, 800), "JPEG", quality=90)
    whole = preprocess(decode(data, MAX_PIXELS), HOW)
    draft = preprocess(decode(data, MAX_PIXELS, at_least=64), HOW)

    assert abs(whole - draft).max() < 0.05


def test_open_clip_is_followed_exactly_on_request() -> None:
    """`as_shown` false: hidden colours are black, as the resize of open_clip leaves them."""
    cut_out = Image.new("RGBA", (32, 32))
    data = saved(cut_out, "PNG")
    theirs = msgspec.structs.replace(HOW, as_shown=False)

    assert 2 == preprocess(decode_for(data, HOW, MAX_PIXELS), HOW).min()
    assert -2 == preprocess(decode_for(data, theirs, MAX_PIXELS), theirs).max()
