"""Good pixels are a picture, whatever lies beside them in the file."""

import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from common.images.decode import decode
from common.images.heif import read_heif
from common.images.png import _unpacked, read_png
from common.images.renditions import render
from tests.front.pictures import encoded, png
from tests.unit.common.images.shown import MAX_PIXELS, WIDE, picture, pixels, profile_of, shown


def _png_with(*chunks: bytes) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(picture()))
    return png((60, 40), 8, 2, rows, *chunks)


def _bad_check(data: bytes, name: bytes) -> bytes:
    at = data.index(name) - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    return data[: end - 4] + b"none" + data[end:]


def _workflow() -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "abc " * 600_000, zip=True)
    return encoded(picture(), "PNG", pnginfo=texts)


BESIDE: dict[str, Callable[[], bytes]] = {
    "a workflow": _workflow,
    "many texts": lambda: _png_with(*[b"zTXtk\0\0" + zlib.compress(bytes(900_000))] * 99),
    "a text that is not packed": lambda: _png_with(b"zTXtk\0\0none"),
    "a text of another language": lambda: _png_with(b"iTXtk\0\1\7\xff\0\xff\0\xff"),
    "a text with a bad sum": lambda: _bad_check(_png_with(b"tEXtk\0v"), b"tEXt"),
    "a chunk of nothing": lambda: _png_with(b"pHYs", b"gAMA", b"tIME", b"sRGB", b"cHRM"),
    "EXIF that is none": lambda: _png_with(b"eXIf", b"eXIfExif\0\0"),
    "ImageMagick's EXIF, not hex": lambda: _png_with(b"tEXtRaw profile type exif\0\n\n\n\nzz"),
    "a profile that is none": lambda: _png_with(b"iCCPk\0\0" + zlib.compress(b"none")),
    "a profile that is not packed": lambda: _png_with(b"iCCPk\0\0none"),
    "a profile of 100 MB": lambda: _png_with(b"iCCPk\0\0" + zlib.compress(bytes(10**8))),
    "profiles": lambda: _png_with(*[b"iCCPk\0\0" + zlib.compress(bytes(10**6))] * 1000),
    "WEBP with EXIF that is none": lambda: encoded(
        picture(), "WEBP", lossless=True, exif=b"none", icc_profile=b"none", xmp=b"none"
    ),
}


@pytest.mark.parametrize("make", BESIDE.values(), ids=BESIDE)
def test_good_pixels_are_a_picture_whatever_lies_beside_them(make: Callable[[], bytes]) -> None:
    """Kind D: texts, EXIF, profiles and sums that are odd are skipped."""
    assert np.array_equal(pixels(picture()), shown(make()))


PACKED = {
    "profiles": b"iCCPk\0\0",
    "EXIF of ImageMagick": b"zTXtRaw profile type exif\0\0",
    "XMP": b"iTXtXML:com.adobe.xmp\0\1\0\0\0",
}


@pytest.mark.parametrize("packed", [zlib.compress(bytes(10**6)), b"none"], ids=["good", "broken"])
@pytest.mark.parametrize("begins", PACKED.values(), ids=PACKED)
def test_of_a_thousand_chunks_one_is_unpacked(
    begins: bytes, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind I: what is packed costs once, whether it is good or not."""
    unpacked = []

    def counted(data: bytes) -> bytes:
        unpacked.append(data)
        return _unpacked(data)

    monkeypatch.setattr("common.images.png._unpacked", counted)

    read_png(_png_with(*[begins + packed] * 1000))

    assert [packed] == unpacked


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_exif_of_a_heif_is_not_parsed(kind: str) -> None:
    """Kind D: broken EXIF is no fault of the pixels; kind I: nor does full EXIF cost anything."""
    exif = Image.Exif()
    exif[0x010E] = "text" * 9
    data = encoded(picture(), kind, exif=exif.tobytes())
    broken = data.replace(b"MM\0*\0\0\0\x08", b"none\xff\xff\xff\xff")
    assert broken != data

    assert np.array_equal(shown(data), shown(broken))
    opened = Image.open(io.BytesIO(read_heif(data, MAX_PIXELS).data))
    assert not opened.info.get("exif")


def test_a_jpeg_with_a_broken_profile_is_a_picture() -> None:
    """Kind D: the profile is ignored; so is one of which a part is missing."""
    whole = encoded(picture(), "JPEG", icc_profile=profile_of(WIDE) + bytes(100_000))
    for data in (whole, whole.replace(b"ICC_PROFILE\0\1", b"ICC_PROFILE\0\7")):
        assert (40, 60, 3) == shown(data).shape
    broken = encoded(picture(), "JPEG", icc_profile=b"none")
    assert np.array_equal(shown(encoded(picture(), "JPEG")), shown(broken))


def test_metadata_is_not_handed_on() -> None:
    """What is saved from a decoded image holds nothing but pixels."""
    data = encoded(picture(), "GIF", comment=b"secret")

    assert {} == decode(data, MAX_PIXELS).info
    assert b"secret" not in render(data, 60, MAX_PIXELS)
