"""The formats that browsers or Pillow alone do not read: each is read, turned and bounded."""

import contextlib
import struct
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import ServiceError
from common.images.boxes import Box, boxes
from common.images.codecs import av1_size, hevc_sizes
from common.images.decode import decode
from common.images.formats import ENDINGS, FORMATS, format_of
from common.images.heif import read_heif
from common.images.jpeg2000 import read_jpeg2000
from common.images.raw import embedded_jpeg
from common.images.thread_decoder import decode_here
from common.images.tiff import is_raw, read_directory, read_tiff
from tests.front.pictures import UPRIGHT, encoded
from tests.raw_photos import dng
from tests.unit.common.images.shown import MAX_PIXELS, WIDE, picture, pixels, profile_of, shown

SIZE = (600, 400)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "TIFF": ("TIFF", {}),
    "TIFF, big-endian tags": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, JPEG": ("TIFF", {"compression": "jpeg", "quality": 95}),
    "TIFF, PackBits": ("TIFF", {"compression": "packbits"}),
    "TIFF, Zstandard": ("TIFF", {"compression": "zstd"}),
    "BigTIFF": ("TIFF", {"big_tiff": True}),
    "TIFF of two pages": ("TIFF", {"save_all": True, "append_images": [Image.new("L", (9, 9))]}),
    "AVIF": ("AVIF", {"quality": 95}),
    "animated AVIF": ("AVIF", {"save_all": True, "append_images": [Image.new("RGB", SIZE)]}),
    "HEIC": ("HEIF", {"quality": 95}),
    "JPEG 2000": ("JPEG2000", {}),
    "JPEG 2000 without boxes": ("JPEG2000", {"no_jp2": True}),
    "MPO": ("MPO", {"save_all": True, "append_images": [picture()], "quality": 95}),
}


@pytest.mark.parametrize(("kind", "how"), KINDS.values(), ids=KINDS)
def test_a_format_is_read_and_shown(kind: str, how: dict[str, Any]) -> None:
    """Kind B: what was left out is read, and its thumbnail is what is embedded."""
    data = encoded(picture(*SIZE), kind, **how)

    assert abs(pixels(decode(data, MAX_PIXELS)) - pixels(picture(*SIZE))).mean() < 3
    assert (333, 500, 3) == shown(data).shape


def test_every_format_has_endings() -> None:
    """They are in lower case, and no ending stands for two formats."""
    endings = [ending for known in FORMATS.values() for ending in known.endings]

    assert sorted(ENDINGS) == sorted(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF", "RAW"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_is_turned_once(kind: str, orientation: int) -> None:
    """By its own tags or boxes; not by them and by EXIF again."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = picture(*SIZE)
    if kind == "RAW":
        orientation = {2: 1, 4: 3, 5: 6, 7: 8}.get(orientation, orientation)  # no camera mirrors
        data = dng(encoded(image, "JPEG"), SIZE, orientation)
    else:
        image.info["exif"] = exif.tobytes()
        data = encoded(image, kind, exif=exif.tobytes())
    turned = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image

    found = decode(data, MAX_PIXELS)

    assert found.size == turned.size
    assert abs(pixels(found) - pixels(turned)).mean() < 4


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "JPEG2000", "HEIF"])
def test_what_is_transparent_is_white(kind: str) -> None:
    """Kind C: in each format that can be transparent."""
    image = picture(*SIZE).convert("RGBA")
    image.putalpha(Image.new("L", SIZE, 0))

    assert shown(encoded(image, kind)).min() >= 254


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_colours_of_a_profile_are_shown(kind: str) -> None:
    """Kind C: a phone's HEIC has the profile Display P3."""
    image = Image.new("RGB", (64, 64), (200, 60, 60))
    data = encoded(image, kind, icc_profile=profile_of(WIDE))

    assert pixels(decode(data, MAX_PIXELS))[32, 32, 0] > 210


def test_deep_grey_is_read_in_each_format() -> None:
    """Kind C: a scan of 16 bits."""
    grey = np.asarray(picture(*SIZE).convert("L"), dtype=np.uint16) * 257
    for kind in ("TIFF", "JPEG2000"):
        data = encoded(Image.fromarray(grey), kind)
        assert abs(pixels(decode(data, MAX_PIXELS))[..., 0] - grey // 257).max() <= 1


def test_a_raw_photo_is_the_jpeg_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rawpy; without, the message says how to get it."""
    data = dng(encoded(picture(*SIZE), "JPEG", quality=95), SIZE)

    assert is_raw(read_directory(data))
    assert b"\xff\xd8" == embedded_jpeg(data)[0][:2]
    assert abs(pixels(decode(data, MAX_PIXELS)) - pixels(picture(*SIZE))).mean() < 3
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ServiceError, match="pip install rawpy"):
        decode_here(data, "RAW", MAX_PIXELS)


def test_a_jpeg_2000_is_halved() -> None:
    """It costs four bytes where others cost one, so it is decoded smaller, or refused."""
    data = encoded(picture(*SIZE), "JPEG2000", num_resolutions=3)

    assert (150, 100) == decode(data, MAX_PIXELS, at_least=100).size
    assert (300, 200) == decode(data, 300 * 200 * 4).size
    with pytest.raises(ServiceError, match="600x400 pixels"):
        decode(data, 4 * 150 * 100 - 4)
    with pytest.raises(ServiceError, match="tiles"):
        read_jpeg2000(encoded(picture(*SIZE), "JPEG2000", tile_size=(4, 4)), MAX_PIXELS, 0)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_coded_picture_is_bounded_by_its_own_header(kind: str) -> None:
    """Kind I: 2 kB whose boxes say 8x8 made a decoder take 300 MiB for 144 megapixels."""
    data = encoded(Image.new("RGB", (1200, 1000)), kind)
    told = struct.pack(">II", 1200, 1000)
    assert told in data
    small = data.replace(told, struct.pack(">II", 8, 8))

    with pytest.raises(ServiceError, match="is the limit"):
        decode(data, 1_199_999)
    with pytest.raises(ServiceError, match="is the limit"):
        read_heif(small, 1_199_999)
    assert (1200, 1000) == decode(data, 1_300_000).size


def test_boxes_end_where_one_is_broken() -> None:
    """One of 32 bits, one of 64, one to the end; one that is longer than the file ends them."""
    whole = b"\0\0\0\x09aaaa1" + b"\0\0\0\1bbbb" + struct.pack(">Q", 17) + b"2"

    assert [Box(b"aaaa", 8, 9), Box(b"bbbb", 25, 26), Box(b"cccc", 34, 35)] == list(
        boxes(whole + b"\0\0\0\0cccc3", 0, 35)
    )
    assert 2 == len(list(boxes(whole + b"\0\0\0\x64cccc3", 0, 35)))


def test_headers_that_hold_no_size_are_none() -> None:
    """Of bytes that are no picture."""
    assert av1_size(b"") is None
    assert [] == list(hevc_sizes([b"", b"\x02\x01"]))


TOO_MUCH = {
    "pixels": {256: 60_000, 257: 60_000},
    "a tile": {322: 60_000, 323: 60_000},
    "numbers a pixel": {277: 60_000},
}


@pytest.mark.parametrize("changes", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_tiff_is_refused_for_what_it_claims(changes: dict[int, int]) -> None:
    """Kind I: before libtiff reads it."""
    directory = read_directory(encoded(picture(), "TIFF"))
    for tag, value in changes.items():
        template = directory.tags[256]
        directory.tags[tag] = template._replace(values=struct.pack("<I", value))

    with pytest.raises(ServiceError):
        read_tiff(b"II*\0" + bytes(4), directory, MAX_PIXELS)


def test_a_tiff_is_read_without_what_lies_beside_its_picture() -> None:
    """Kind D, kind I: 60,000 tags that each claim the whole file, pages in a circle, bad EXIF."""
    data = encoded(picture(), "TIFF")
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    many = [struct.pack("<HHII", 40_000 + n, 7, len(data), 0) for n in range(3_000)]
    many.append(struct.pack("<HHII", 34665, 4, 1, 9))  # EXIF in the middle of the pixels
    new = struct.pack("<H", count + len(many)) + b"".join(entries + many)
    harmful = (
        data[:4] + struct.pack("<I", len(data)) + data[8:] + new + struct.pack("<I", len(data))
    )

    assert np.array_equal(pixels(picture()), shown(harmful))
    with pytest.raises(ServiceError, match="tags"):
        read_directory(harmful.replace(new[:2], struct.pack("<H", 60_000)))


@pytest.mark.parametrize("name", ["TIFF", "AVIF", "HEIF", "JPEG2000", "RAW"])
def test_any_part_of_a_file_is_a_picture_or_broken(name: str) -> None:
    """Files that end early, and files with a byte changed, end in our own errors alone."""
    data = dng(encoded(picture(), "JPEG"), (60, 40)) if name == "RAW" else encoded(picture(), name)
    assert name == format_of(data) or name == "RAW"
    random = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(data[: random.integers(4, len(data))])
        changed += data[len(changed) :] if random.random() < 0.7 else b""
        for at in random.integers(8, len(changed), 3):
            changed[at] = random.integers(256)
        with contextlib.suppress(ServiceError):
            decode(bytes(changed), MAX_PIXELS)
