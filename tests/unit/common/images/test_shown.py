"""What is embedded is what thumbnails, previews and hashes show: depth, alpha, frames, colours."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.GifImagePlugin import GifImageFile

from common.images.colours import in_8_bits, plain
from common.images.decode import decode
from common.images.orientation import upright
from tests.front.pictures import encoded
from tests.unit.common.images.shown import MAX_PIXELS, WIDE, picture, pixels, profile_of, shown


def test_grey_of_8_and_16_bits_decode_alike() -> None:
    """Kind C: 16-bit values are scaled, not cut off, in thumbnails too."""
    grey = picture().convert("L")
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 256)

    expected = pixels(grey.convert("RGB"))
    assert abs(shown(encoded(grey, "PNG")) - expected).max() == 0
    assert abs(shown(encoded(deep, "PNG")) - expected).max() == 0


@pytest.mark.parametrize("values", ["u2", "i4", "f4"])
@pytest.mark.parametrize("most", [1, 255, 65535])
def test_deep_grey_of_any_range_becomes_8_bits(values: str, most: int) -> None:
    """Of 1.0, of 8 bits, of 16 bits; what is no number is black."""
    grey = np.linspace(0, most, 256).astype(values)
    levels = np.asarray(in_8_bits(Image.fromarray(grey[None])))[0]

    if values == "f4" or most > 1:
        assert abs(levels - np.arange(256.0)).max() <= 1
    if values == "f4":
        grey[7] = np.nan
        assert 0 == np.asarray(in_8_bits(Image.fromarray(grey[None])))[0, 7]


def cut_out(hidden: tuple[int, int, int]) -> Image.Image:
    """A disc whose surroundings are transparent, and of a colour that nobody sees."""
    disc = Image.radial_gradient("L").resize((60, 40)).point(lambda value: 255 * (value < 100))
    image = Image.composite(picture(), Image.new("RGB", (60, 40), hidden), disc)
    image.putalpha(disc)
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_is_white(kind: str) -> None:
    """Kind C: a cut-out is embedded as it is shown; its hidden colour changes no pixel."""
    black, red = (
        shown(encoded(cut_out(hidden), kind, lossless=True, exact=True))
        for hidden in ((0, 0, 0), (255, 0, 0))
    )

    assert [255, 255, 255] == black[0, 0].tolist()
    assert np.array_equal(black, red)


@pytest.mark.parametrize("mode", ["P", "L", "1", "LA", "RGB"])
def test_transparency_of_every_kind_is_white(mode: str) -> None:
    """Of a palette, of one colour, and of grey with alpha."""
    image = Image.new(mode, (8, 8))
    options = {} if mode == "LA" else {"transparency": (0, 0, 0) if mode == "RGB" else 0}

    assert 255 == shown(encoded(image, "PNG", **options)).min()


BLANK = [Image.new("RGBA", (60, 40)), Image.new("RGBA", (60, 40), "black")]


@pytest.mark.parametrize("blank", BLANK, ids=["transparent", "black"])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_that_begins_blank_the_next_frame_is_shown(
    kind: str, blank: Image.Image
) -> None:
    """Kind C: an animation that fades in is no white or black square."""
    frames = [blank, blank.copy(), picture().convert("RGBA")]
    data = encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], lossless=True, duration=[9, 8, 7]
    )

    assert abs(shown(data) - pixels(picture())).mean() < 8  # a GIF has 256 colours


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_of_blank_frames_the_first_is_shown(kind: str) -> None:
    """Also if a later one is broken, or there are more frames than are looked at."""
    frames = [Image.new("RGB", (60, 40), (20 * n, 0, 0)) for n in range(12)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)

    assert 0 == shown(data).max()
    assert 0 == pixels(decode(data, 60 * 40)).max()


def test_a_frame_that_enlarges_the_canvas_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind I: a GIF's second frame may ask for gigapixels."""
    looked_at: list[int] = []
    monkeypatch.setattr(GifImageFile, "seek", lambda _gif, number: looked_at.append(number))
    frames = [Image.new("L", (60, 40)), picture().convert("L")]
    data = bytearray(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    second = data.rindex(b",\0\0\0\0")
    data[second + 1 : second + 9] = struct.pack("<4H", 65000, 65000, 500, 500)

    assert (60, 40) == decode(bytes(data), MAX_PIXELS).size
    assert [] == looked_at


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_a_profile_are_shown(kind: str, mode: str) -> None:
    """Kind C: the strongest red of a phone's photo is stronger than sRGB's; its grey is grey."""
    if (kind, mode) == ("JPEG", "RGBA"):
        return
    image = Image.new(mode, (60, 40), (200, 60, 60))
    image.paste((128, 128, 128), (30, 0, 60, 40))
    data = encoded(image, kind, icc_profile=profile_of(WIDE), lossless=True, quality=100)

    wide = shown(data)

    assert wide[20, 10, 0] > 210
    assert abs(wide[20, 50] - 128).max() <= 3


def test_srgb_by_any_name_changes_nothing() -> None:
    """A profile is judged by what it does; one of another kind of colours is ignored."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, srgb.replace(b"sRGB", b"none")):
        data = encoded(picture(), "PNG", icc_profile=profile)
        assert np.array_equal(pixels(picture()), shown(data))
    grey = encoded(picture().convert("L"), "PNG", icc_profile=profile_of(WIDE))
    assert np.array_equal(pixels(picture().convert("L")), shown(grey))


def test_the_parts_of_the_reader_agree() -> None:
    """What open_clip sees, without transparency, keeps the mode; shown, it does not."""
    image = upright(Image.open(io.BytesIO(encoded(cut_out((9, 9, 9)), "PNG"))))

    assert "RGBA" == in_8_bits(image).mode
    assert "RGB" == plain(image).mode
    data = encoded(image, "PNG")
    assert "RGBA" == decode(data, MAX_PIXELS, as_shown=False).mode
