"""Decoding and preprocessing."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from common.config import Inference
from common.errors import ServiceError
from inference.clip.images import MODES, Preprocessing, decode, preprocess
from tests.hostile_images import HOSTILE, LONG

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


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (saved(picture(), "PNG"), 0),
        (saved(picture(), "BMP"), 0),
        (saved(picture(), "WEBP", lossless=True), 0),
        (saved(picture(), "JPEG", quality=100, subsampling=0), 4),
        (saved(picture().convert("RGBA"), "PNG"), 0),
        (saved(picture().quantize(256), "PNG"), 24),
        (saved(picture().convert("CMYK"), "JPEG", quality=100), 8),
    ],
    ids=["png", "bmp", "webp", "jpeg", "alpha", "palette", "cmyk"],
)
def test_every_format_decodes_to_the_same_picture(data: bytes, tolerance: int) -> None:
    """Whatever the file's format and mode, the pixels are those of the RGB picture."""
    image = decode(data, MAX_PIXELS)

    assert image.mode in MODES
    assert tolerance >= abs(pixels(image) - pixels(picture())).max()


def test_grey_of_8_and_16_bits_decode_alike() -> None:
    """16-bit values are scaled, not cut off."""
    grey = picture().convert("L")
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)

    expected = pixels(grey.convert("RGB"))
    assert abs(pixels(decode(saved(grey, "PNG"), MAX_PIXELS)) - expected).max() == 0
    assert abs(pixels(decode(saved(deep, "PNG"), MAX_PIXELS)) - expected).max() <= 1


def test_a_turned_photo_is_put_upright() -> None:
    """The orientation that a camera wrote is undone."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = saved(picture().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)

    assert abs(pixels(decode(turned, MAX_PIXELS)) - pixels(picture())).max() == 0


def test_of_an_animation_the_first_frame_counts() -> None:
    """Later frames change nothing."""
    frames = [picture().quantize(64), Image.new("RGB", (60, 40), "red").quantize(64)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])

    first = pixels(frames[0].convert("RGB"))
    assert abs(pixels(decode(data, MAX_PIXELS)) - first).max() == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"%PDF-1.7", 415),
        (saved(picture(), "TIFF"), 415),
        (saved(picture(), "PNG")[:-40], 422),
        (saved(picture(300, 300), "JPEG")[:2000], 422),
        (saved(Image.new("1", (1001, 1000)), "PNG"), 413),
        (saved(Image.new("1", (1, 21)), "PNG"), 400),
    ],
    ids=["empty", "svg", "pdf", "tiff", "cut png", "cut jpeg", "too large", "too long"],
)
def test_what_is_no_good_image_is_refused(data: bytes, status: int) -> None:
    """Each kind of bad file has its status, and says nothing of how it was found out."""
    with pytest.raises(ServiceError) as error:
        decode(data, MAX_PIXELS)
    assert status == error.value.status
    assert "PIL" not in error.value.detail


@pytest.mark.parametrize(("status", "make"), (HOSTILE | LONG).values(), ids=HOSTILE | LONG)
def test_few_bytes_that_would_cost_much_are_refused(status: int, make: Callable[[], bytes]) -> None:
    """By the limit that the server has; what only its metadata makes large is a picture."""
    if status == 200:
        assert (8, 8) == decode(make(), Inference().max_pixels).size
        return
    with pytest.raises(ServiceError) as error:
        decode(make(), Inference().max_pixels)
    assert status == error.value.status


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
