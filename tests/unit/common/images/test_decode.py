"""The one reader of image files: formats, limits, what is no good image."""

from collections.abc import Callable

import pytest
from PIL import Image

from common.config import Inference
from common.errors import ServiceError
from common.images.decode import decode
from common.images.thread_decoder import MAX_SCALED
from tests.front.pictures import encoded, noise
from tests.hostile_images import HOSTILE, LONG, jpeg_of_scans
from tests.unit.common.images.shown import MAX_PIXELS, picture, pixels


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encoded(picture(), "PNG"), 0),
        (encoded(picture(), "BMP"), 0),
        (encoded(picture(), "WEBP", lossless=True), 0),
        (encoded(picture(), "JPEG", quality=100, subsampling=0), 4),
        (encoded(picture().convert("RGBA"), "PNG"), 0),
        (encoded(picture().quantize(256), "PNG"), 24),
        (encoded(picture().convert("CMYK"), "JPEG", quality=100), 8),
    ],
    ids=["png", "bmp", "webp", "jpeg", "alpha", "palette", "cmyk"],
)
def test_every_format_decodes_to_the_same_picture(data: bytes, tolerance: int) -> None:
    """Whatever the file's format and mode, the pixels are those of the RGB picture."""
    image = decode(data, MAX_PIXELS)

    assert image.mode in ("RGB", "L")
    assert tolerance >= abs(pixels(image) - pixels(picture())).max()


def test_a_turned_photo_is_put_upright() -> None:
    """The orientation that a camera wrote is undone."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = encoded(picture().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)

    assert abs(pixels(decode(turned, MAX_PIXELS)) - pixels(picture())).max() == 0


def test_of_an_animation_the_first_frame_counts() -> None:
    """Later frames change nothing."""
    frames = [picture().quantize(64), Image.new("RGB", (60, 40), "red").quantize(64)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    first = pixels(frames[0].convert("RGB"))
    assert abs(pixels(decode(data, MAX_PIXELS)) - first).max() == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"%PDF-1.7", 415),
        (encoded(picture(), "PNG")[:-40], 422),
        (encoded(picture(300, 300), "JPEG")[:2000], 422),
        (encoded(Image.new("1", (1001, 1000)), "PNG"), 413),
        (encoded(Image.new("1", (1, 21)), "PNG"), 400),
    ],
    ids=["empty", "svg", "pdf", "cut png", "cut jpeg", "too large", "too long"],
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


def test_pixels_are_counted_as_they_are_decoded() -> None:
    """Kind I: a panorama over the limit is read as a JPEG, smaller; other formats are not."""
    wide = noise(size=(2000, 1000))
    panorama = encoded(wide, "JPEG")

    assert (1000, 500) == decode(panorama, MAX_PIXELS).size
    assert (250, 125) == decode(panorama, MAX_PIXELS, at_least=100).size
    for other in (
        encoded(wide, "PNG"),
        encoded(wide, "JPEG", progressive=True),
        encoded(noise(size=(3000, 1500)), "JPEG"),
        jpeg_of_scans(2, 1500),
    ):
        with pytest.raises(ServiceError, match="is the limit"):
            decode(other, MAX_PIXELS, at_least=100)
    assert MAX_SCALED * MAX_PIXELS < 3000 * 1500
