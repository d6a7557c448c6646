import json
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from devtools.services import Cluster
from tests.front import pictures
from tests.front.front_client import ask, assert_problem, embed, in_base64, post, upload
from tests.front.pictures import encoded, noise, png
from tests.hostile_images import HOSTILE
from tests.memory import small_memory


@pytest.fixture(autouse=True)
def _good_after_bad(cluster: Cluster) -> Iterator[None]:
    """After every bad input the next good request succeeds."""
    yield
    assert upload(cluster, encoded(noise(), "PNG")).status == 200


@pytest.fixture
def _small_memory(cluster: Cluster) -> Iterator[None]:
    """The inference server needs little memory for what it is asked."""
    with small_memory(cluster.inference.process.pid):
        yield


FOREIGN = {
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "PDF": b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n",
    "video": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "icon": encoded(noise(), "ICO"),
    "text": b"a red square",
    "one byte": b"\0",
}


@pytest.mark.parametrize("file", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_image_is_refused(cluster: Cluster, file: bytes) -> None:
    """Refused in each form that takes an image."""
    message = json.dumps({"images": [in_base64(file)]}).encode()
    for response in (
        upload(cluster, file, "picture.jpg"),
        ask(cluster, image=file),
        post(cluster, message, "/v1/embed"),
    ):
        assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000"]
)
def test_a_truncated_image_is_refused(cluster: Cluster, kind: str) -> None:
    """A file that ends early is broken, not a picture with a grey rest."""
    file = encoded(noise(size=(200, 100)), kind)

    response = upload(cluster, file[: len(file) * 2 // 3])

    assert_problem(response, 422, "unprocessable")


def test_a_corrupt_image_is_refused(cluster: Cluster) -> None:
    """A file with a byte flipped in its pixels is broken."""
    file = bytearray(encoded(noise(), "PNG"))
    file[len(file) // 2] ^= 0xFF

    assert_problem(upload(cluster, bytes(file)), 422, "unprocessable")


@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize("side", [7_100, 10_000, 20_000, 60_000])
def test_an_image_with_too_many_pixels_is_refused_unread(cluster: Cluster, side: int) -> None:
    """A small file that would be huge when decoded is 413, from its header alone."""
    file = png((side, side), 8, 2, bytes(100_000))

    assert len(file) < 1_000
    assert_problem(upload(cluster, file), 413, "too_large")


@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize("size", [(1, 65_500), (65_500, 1), (10, 201), (201, 10)])
def test_an_extreme_shape_is_refused(cluster: Cluster, size: tuple[int, int]) -> None:
    """An image may be 20 times as long as wide; more would be resized to gigabytes."""
    response = upload(cluster, encoded(noise(size=size), "PNG"))

    assert_problem(response, 400, "bad_request")


def test_an_image_of_20_to_1_is_read(cluster: Cluster) -> None:
    """The limit itself is allowed."""
    assert upload(cluster, encoded(noise(size=(10, 200)), "PNG")).status == 200


BOMBS = {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0"}


@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_the_metadata_does_not_go_off(cluster: Cluster, name: str) -> None:
    """Kind D: text of 100 MB packed into a small PNG is not unpacked; its pixels are good."""
    file = pictures.bomb(name.encode(), BOMBS[name])

    assert 200 == upload(cluster, file).status


@pytest.mark.usefixtures("_small_memory")
def test_many_texts_in_an_image_are_not_kept(cluster: Cluster) -> None:
    """Kind D: of many texts that are each within the limit, none is unpacked."""
    text = b"zTXtk\0\0" + zlib.compress(b"a" * 900_000)
    file = png((1, 1), 8, 0, b"\0\0", *[text] * 150)

    assert 200 == upload(cluster, file).status


def _exif(entries: bytes, count: int = 1) -> bytes:
    """A JPEG with a directory of metadata as told."""
    directory = struct.pack("<H", count) + entries
    return encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + directory)


EXIF = {
    "cut": _exif(b"", 1000),
    "a turn that is none": _exif(struct.pack("<HHII", 0x0112, 3, 1, 99)),
    "a turn of 4 GB": _exif(struct.pack("<HHII", 0x0112, 3, 2**32 - 1, 8)),
    "a text for a turn": _exif(struct.pack("<HHI4s", 0x0112, 2, 4, b"six\0")),
    "a directory in itself": _exif(struct.pack("<HHIII", 0x8769, 4, 1, 8, 8)),
    "full": encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 65_000),
}


@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize("file", EXIF.values(), ids=EXIF)
def test_broken_metadata_costs_no_more_than_the_image(cluster: Cluster, file: bytes) -> None:
    """Kind D: what a camera should have written is read, or left alone."""
    assert upload(cluster, file).status == 200


@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize(("status", "make"), HOSTILE.values(), ids=HOSTILE)
def test_few_bytes_cost_little(cluster: Cluster, status: int, make: Callable[[], bytes]) -> None:
    """Kind I: what would take gigabytes or seconds is refused for what it claims, or left alone."""
    assert status == upload(cluster, make()).status


def test_an_empty_image_is_refused(cluster: Cluster) -> None:
    """A file or a string of no bytes is no image."""
    assert_problem(upload(cluster, b""), 400, "bad_request")
    assert_problem(ask(cluster, image=b""), 400, "bad_request")


@pytest.mark.parametrize("name", pictures.VARIANTS)
def test_an_image_is_embedded_as_it_looks(cluster: Cluster, name: str) -> None:
    """Any mode, depth, rotation or animation embeds as its plain upright first frame does."""
    file, shown = pictures.VARIANTS[name]()
    tolerance = 5e-3 if name == "alpha" else 1e-5  # blending rounds by up to a step of 255

    one, other = embed(cluster, images=[file, encoded(shown.convert("RGB"), "PNG")])["embeddings"]

    np.testing.assert_allclose(one, other, atol=tolerance)


def test_other_pictures_embed_otherwise(cluster: Cluster) -> None:
    """The comparison above can fail: two pictures differ in it."""
    one, other = embed(cluster, images=[encoded(noise(seed), "PNG") for seed in (0, 1)])[
        "embeddings"
    ]

    assert np.abs(np.subtract(one, other)).max() > 0.1
