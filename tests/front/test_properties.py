"""What must hold of any vector and of any image that is sent."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devtools.services import Cluster
from devtools.tiny_model import DIM
from tests.front.front_client import ask, embed, post, upload
from tests.front.pictures import encoded, noise

CODES = {
    400: {"bad_request", "wrong_length"},
    413: {"too_large"},
    415: {"unsupported_media_type"},
    422: {"unprocessable"},
}
often = settings(max_examples=60)
numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)


def assert_answered(response: Any) -> None:
    """An answer with hits, or a refusal that is documented."""
    if response.status == 200:
        answer = response.json()
        assert 0 < len(answer["hits"])
        assert all(-1.001 <= hit["score"] <= 1.001 for hit in answer["hits"])
        assert not answer["coverage"]["degraded"]
    else:
        assert response.status in CODES, response.data
        assert response.json()["code"] in CODES[response.status]


@often
@given(st.lists(numbers | st.integers(-(2**70), 2**70), max_size=DIM + 2))
def test_any_vector_is_answered_or_refused(cluster: Cluster, vector: list[float]) -> None:
    """Numbers of any size, none at all, and what JSON has no word for."""
    assert_answered(post(cluster, json.dumps({"embedding": vector}).encode()))


units = st.lists(st.integers(-9, 9), min_size=DIM, max_size=DIM).filter(any)


@often
@given(units, st.sampled_from([1e-15, 1e-3, 7, 1e15]))
def test_only_the_direction_of_a_vector_counts(
    cluster: Cluster, vector: list[int], factor: float
) -> None:
    """A longer vector finds the same, with the same scores, best first."""
    one = ask(cluster, embedding=vector, dedup="none").json()["hits"]
    other = ask(cluster, embedding=[factor * x for x in vector], dedup="none").json()["hits"]

    scores = [hit["score"] for hit in one]
    assert scores == sorted(scores, reverse=True)
    np.testing.assert_allclose(scores, [hit["score"] for hit in other], atol=1e-5)


@st.composite
def small_images(draw: st.DrawFn) -> Image.Image:
    """An image of any mode and small size, within 20:1."""
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA"]))
    width, height = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    seed = draw(st.integers(0, 2**32 - 1))
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


@often
@given(small_images())
def test_an_image_is_the_same_in_every_lossless_format(
    cluster: Cluster, image: Image.Image
) -> None:
    """The embedding is of the pixels, not of the file."""
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    files = [encoded(image, "PNG"), encoded(plain, "WEBP", lossless=True, exact=True)]
    if plain.mode == "RGB":
        files.append(encoded(plain, "BMP"))

    embeddings = embed(cluster, images=files)["embeddings"]

    for other in embeddings[1:]:
        np.testing.assert_allclose(embeddings[0], other, atol=1e-5)


FILES = [encoded(noise(size=(40, 30)), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]
changes = st.lists(st.tuples(st.integers(0), st.binary(max_size=4)), min_size=1, max_size=4)


@often
@given(st.sampled_from(FILES), changes, st.integers(0))
def test_a_changed_image_is_answered_or_refused(
    cluster: Cluster, file: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    """Bytes overwritten anywhere, and an end that comes early, break nothing but that image."""
    changed = bytearray(file)
    for place, data in changes:
        start = place % len(file)
        changed[start : start + len(data)] = data
    response = upload(cluster, bytes(changed[: len(file) - cut % 50]))

    assert_answered(response)


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=200))
def test_bytes_are_no_image(cluster: Cluster, data: bytes) -> None:
    """What is no image is told so."""
    response = upload(cluster, data)

    assert 200 != response.status
    assert_answered(response)
