"""What a document holds to embed: every form, and every form that is wrong."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import ServiceError
from gateway.documents import content_of, png_of, read_data_uri
from gateway.wire import Document, Message

MAX_PIXELS = 100
RGB = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


def with_tensor(array: Any) -> Message:
    document = Document()
    dense = document.tensor.dense
    dense.buffer, dense.dtype = array.tobytes(), array.dtype.str
    dense.shape.extend(array.shape)
    return document


def pixels(file: bytes) -> Any:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("tensor", "seen"),
    [
        (RGB, RGB),
        (RGB[:, :, 0], RGB[:, :, 0]),
        (RGB[:, :, :1], RGB[:, :, 0]),
        (RGB.astype(np.float32) + 0.4, RGB),
        (np.full((1, 1, 4), 300), np.full((1, 1, 4), 255)),
        (np.full((1, 1, 3), np.nan), np.zeros((1, 1, 3))),
    ],
)
def test_a_tensor_becomes_an_image_with_its_pixels(tensor: Any, seen: Any) -> None:
    """Colour, grey, with alpha; other numbers are brought into 0 to 255."""
    content = content_of(with_tensor(np.ascontiguousarray(tensor)), MAX_PIXELS)

    assert isinstance(content, bytes)
    assert np.array_equal(pixels(content), seen)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 2, 2, 3), (5,), (0, 2, 3), (11, 10, 3)])
def test_a_tensor_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    """Channels first, batches, rows, nothing, and too many pixels."""
    with pytest.raises(ServiceError, match=r"image|pixels"):
        png_of(np.zeros(shape, np.uint8), MAX_PIXELS)


@pytest.mark.parametrize(
    ("dtype", "size"), [("|u1", 3), ("<f4", 4), ("|O", 12), ("x", 12), ("<U1", 48), ("(1,", 12)]
)
def test_a_buffer_that_does_not_fit_is_refused(dtype: str, size: int) -> None:
    """Objects, above all: reading them would run their code."""
    document = with_tensor(RGB)
    document.tensor.dense.dtype, document.tensor.dense.buffer = dtype, b"a" * size
    with pytest.raises(ServiceError, match="do not fit"):
        content_of(document, MAX_PIXELS)


@pytest.mark.parametrize(
    ("uri", "content"),
    [
        ("data:image/png;base64,YWJj", b"abc"),
        ("DATA:;BASE64,YWJj", b"abc"),
        ("data:text/plain,a%20b", b"a b"),
        ("data:image/png;base64,YW%4Aj", b"abc"),
    ],
)
def test_a_data_uri_is_read(uri: str, content: bytes) -> None:
    """In base64 or in per cent signs."""
    assert read_data_uri(uri) == content


def test_text_comes_before_an_address() -> None:
    """As in CLIP-as-service; an empty text is nothing."""
    assert content_of(Document(text="a", uri="data:,b"), MAX_PIXELS) == "a"
    assert content_of(Document(text="", uri="data:,b"), MAX_PIXELS) == b"b"
    assert content_of(Document(text=""), MAX_PIXELS) is None
