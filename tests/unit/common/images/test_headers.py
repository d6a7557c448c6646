"""What image files claim, read before Pillow reads them."""

import contextlib
import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from common.errors import ServiceError
from common.images.canvas import gif_sizes, webp_size
from common.images.decode import decode
from common.images.formats import format_of
from common.images.jpeg import read_jpeg
from common.images.png import CHUNK_BYTES, SMALL_CHUNKS, read_png
from common.images.thread_decoder import MAX_SCANS
from tests.front.pictures import UPRIGHT, VARIANTS, animated, encoded, noise
from tests.hostile_images import bmp_of_runs, gif, jpeg_of_scans, segment, small_png

MAX_PIXELS = 1_000_000
# Besides, bytes up to 5: what is taken for a frame stays small.
PIECES = [
    b"!\xff\x0bNETSCAPE2.0",
    b"!\xf9",
    b"!\xfe",
    b"!\xff",
    b"!\1",
    b"\0",
    b"\3\1\0\0",
    b";",
    b",",
]


def opened(data: bytes) -> Image.Image:
    """As Pillow by itself opens it."""
    return Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF", "BMP"))


@settings(derandomize=True, max_examples=1000)
@given(
    st.lists(st.sampled_from(PIECES) | st.text("\0\1\2\3\4\5", max_size=6).map(str.encode)),
    st.tuples(*[st.integers(0, 300)] * 4),
)
def test_a_gif_is_as_large_as_pillow_will_make_it(
    pieces: list[bytes], frame: tuple[int, int, int, int]
) -> None:
    """Whatever stands before and between frames, they are found where Pillow finds them."""
    whole, other = gif((41, 65), frame), gif((41, 65), (0, 0, 500, 500))
    # Who takes a piece for something else may miss the first frame, and find another.
    data = whole[:19] + b"".join(pieces) + whole[19:-1] + b"".join(pieces) + other[19:]
    sizes = gif_sizes(data)
    try:
        image = opened(data)
    except (OSError, IndexError, EOFError, SyntaxError, struct.error):
        return
    assert image.size == next(sizes)
    broken = (OSError, IndexError, EOFError, SyntaxError, ValueError, struct.error)
    with contextlib.suppress(*broken):
        image.seek(1)
        assert image.size == next(sizes)


@pytest.mark.parametrize("how", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}, {"quality": 1}])
@pytest.mark.parametrize("size", [(1, 1), (300, 7), (16, 5000)])
def test_a_webp_is_as_large_as_pillow_says(size: tuple[int, int], how: dict[str, object]) -> None:
    """In each of its three kinds of header."""
    data = encoded(noise(size=size), "WEBP", **how)

    assert size == webp_size(data) == opened(data).size
    assert webp_size(data[:29]) is None


def _on_a_small_screen(gif: bytes) -> bytes:
    """A GIF whose frame reaches beyond its screen."""
    return gif[:6] + struct.pack("<HH", 10, 10) + gif[10:]


GOOD = {
    "a GIF whose frames lie within its screen": animated("GIF")[0],
    "a GIF whose frame reaches beyond its screen": _on_a_small_screen(animated("GIF")[0]),
    "an animated PNG": animated("PNG")[0],
    "an animated WEBP": animated("WEBP")[0],
    "a progressive JPEG": encoded(noise(size=(1200, 800)), "JPEG", progressive=True),
    "a JPEG in scans as many as are allowed": jpeg_of_scans(MAX_SCANS, 1000),
    "a small JPEG in many scans": jpeg_of_scans(500, 80),
    "a JPEG with a colour profile": encoded(noise(), "JPEG", icc_profile=bytes(200_000)),
    "two JPEGs in one file": encoded(noise(), "MPO", save_all=True, append_images=[noise(1)]),
    "a PNG with a colour profile": encoded(noise(), "PNG", icc_profile=bytes(200_000)),
    "a PNG with texts": small_png(*[b"zTXtk\0\0x\x9c\x03\0\0\0\0\1"] * 32),
    "a BMP in runs": bmp_of_runs(100, b"\x64\7\0\0"),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_a_good_image_is_opened(data: bytes) -> None:
    """What is odd but costs no more than others is decoded as Pillow by itself decodes it."""
    image = decode(data, MAX_PIXELS)

    assert opened(data).size == image.size
    assert opened(data).convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_an_odd_gif_is_as_large_as_its_frame() -> None:
    """As browsers show it; one pixel more than the limit is too many."""
    data = gif((41, 65), (0, 0, 1000, 1000))

    assert (1000, 1000) == opened(data).size
    with pytest.raises(ServiceError, match="broken"):
        decode(data, MAX_PIXELS)  # it holds none of them
    with pytest.raises(ServiceError, match="1000x1000 pixels"):
        decode(data, MAX_PIXELS - 1)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_jpeg_without_its_metadata_is_the_same_picture(name: str) -> None:
    """What says how its colours are meant is kept."""
    data = VARIANTS[name]()[0]
    if format_of(data) == "JPEG":
        assert opened(data).tobytes() == opened(read_jpeg(data).data).tobytes()


def exif_of(orientation: int, order: str) -> bytes:
    """A directory with an orientation, and something before and after it."""
    mark = "<" if order == "II" else ">"
    head = order.encode() + struct.pack(mark + "HI", 42, 8)
    rows = [(0x0100, 4, 1, 9), (0x0131, 2, 30, 60)]
    packed = b"".join(struct.pack(mark + "HHII", *row) for row in rows)
    turned = struct.pack(mark + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(mark + "H", 3) + packed[:12] + turned + packed[12:] + bytes(60)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", [0, 1, *UPRIGHT, 9])
def test_an_image_is_turned_as_pillow_turns_it(orientation: int, order: str) -> None:
    """By EXIF of either order, by XMP, by ImageMagick's text; or by none of them."""
    exif = exif_of(orientation, order)
    xmp = b'<x tiff:Orientation="%d"/>' % orientation
    raw = b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())
    plain = encoded(noise(), "JPEG")
    files = [
        encoded(noise(), "PNG", exif=exif),
        encoded(noise(), "WEBP", exif=b"Exif\0\0" + exif),
        encoded(noise(), "JPEG", exif=b"Exif\0\0" + exif),
        plain[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp) + plain[2:],
        small_png(b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + xmp),
        small_png(b"tEXtRaw profile type exif\0" + raw),
    ]
    assert exif == read_png(files[0]).info["exif"]
    for data in files:
        image = decode(data, MAX_PIXELS)
        turned = ImageOps.exif_transpose(opened(data))
        assert turned.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_texts_that_are_called_as_metadata_are_no_metadata() -> None:
    """A text of a PNG may have any name."""
    texts = (b"tEXtxmp\0text", b"iTXtexif\0\0\0\0\0text", b"tEXtexif\0text")

    assert (
        decode(small_png(), MAX_PIXELS).tobytes() == decode(small_png(*texts), MAX_PIXELS).tobytes()
    )


def test_a_png_may_have_more_chunks_the_larger_it_is() -> None:
    """Kind I: going over chunks of no bytes costs as much as over others; rows may be chunks."""
    rows = small_png(*[b"tEXtk\0v"] * (SMALL_CHUNKS - 10))
    assert (8, 8) == decode(rows, MAX_PIXELS).size
    many = [b"tEXt" + bytes(CHUNK_BYTES)] * (SMALL_CHUNKS // 8)
    assert (8, 8) == decode(small_png(*many, *[b"tEXtk\0v"] * SMALL_CHUNKS), MAX_PIXELS).size
    for none in (b"IDAT", b"tEXtk\0v"):
        with pytest.raises(ServiceError, match="chunks"):
            read_png(small_png(*[none] * 2 * SMALL_CHUNKS))
