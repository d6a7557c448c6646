"""Preprocessing."""

import io

import msgspec
import numpy as np
import pytest
from PIL import Image

from common.images.decode import decode
from inference.clip.images import Preprocessing, decode_for, preprocess

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

    np.testing.assert_allclose(
        values.transpose(1, 2, 0), (np.asarray(expected) / 255 - 0.5) / 0.25, atol=1e-5
    )


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
