"""Documents: what they hold to embed, and what is written back into them.

A document is a `wire.Document`. It is changed in place, so that the client gets back its id, uri,
tags and all else that it sent.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import BadRequest, ServiceError, TooLarge
from common.wire import Matrix
from gateway.wire import Document, Message
from middle.messages import Hit

Content = str | bytes
"""A text, or an image file."""

CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode of a tensor, by the size of its last dimension."""
DATA_URI = "data:"
URI = "uri"
"""The field of metadata that keeps the uri of a document that was indexed."""
IMAGES = ("blob", "tensor")
"""The kinds of content that are images."""
NUMPY = "numpy"
"""The class that docarray makes of an array."""


def about(label: str, error: ServiceError) -> ServiceError:
    """The error with the name of the document that it is about; the whole request fails with it."""
    return ServiceError(f"{label}: {error.detail}", error.code, error.status)


def content_of(document: Message, max_pixels: int) -> Content | None:
    """The text or the image file in a document; None if there is nothing to embed.

    Raises BadRequest or TooLarge. Encoding a tensor takes time: 0.1 s for 10 megapixels.
    """
    kind = document.WhichOneof("content")
    if kind == "text" and document.text:
        return str(document.text)
    if kind == "blob" and document.blob:
        return bytes(document.blob)
    if kind == "tensor":
        return png_of(array_of(document.tensor), max_pixels)
    return read_data_uri(document.uri) if document.uri else None


def has_image(document: Message) -> bool:
    """Whether a document holds an image, as far as can be told without reading it."""
    return document.WhichOneof("content") in IMAGES or bool(document.uri and not document.text)


def read_data_uri(uri: str) -> bytes:
    """The content of a data URI (RFC 2397); raises BadRequest for another address."""
    head, comma, data = uri.partition(",")
    if not head.lower().startswith(DATA_URI) or not comma:
        raise BadRequest(
            "this server fetches no addresses and no files: send the content of the image"
            " (load_uri_to_blob() of the Document), or a data URI"
        )
    raw = unquote_to_bytes(data)
    if not head.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=False)
    except binascii.Error:
        raise BadRequest("the data URI has invalid base64") from None


def array_of(array: Message) -> NDArray[Any]:
    """The dense array of an NdArray, read-only; raises BadRequest."""
    if array.WhichOneof("content") != "dense":
        raise BadRequest("an array must be dense: convert a sparse one first")
    dense = array.dense
    try:
        kind = np.dtype(dense.dtype)
        if kind.kind not in "uifb":
            raise TypeError
        return np.frombuffer(dense.buffer, kind).reshape(tuple(dense.shape))
    except (TypeError, ValueError, SyntaxError):  # numpy parses some dtypes as Python
        raise BadRequest("the array's buffer, shape and dtype do not fit together") from None


def png_of(pixels: NDArray[Any], max_pixels: int) -> bytes:
    """A PNG of pixels [height, width] or [height, width, channels], from 0 to 255.

    Raises BadRequest and TooLarge.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.ndim != 3 or not pixels.size or pixels.shape[2] not in CHANNELS:
        raise BadRequest(
            "a tensor must be an image, [height, width, channels], before any preprocessing;"
            f" this one is {list(pixels.shape)}"
        )
    height, width, channels = pixels.shape
    if height * width > max_pixels:
        raise TooLarge(f"the tensor has {height * width} pixels; {max_pixels} is the limit")
    if pixels.dtype != np.uint8:
        pixels = np.nan_to_num(pixels.astype(np.float32)).clip(0, 255).astype(np.uint8)
    squeezed = pixels[:, :, 0] if channels == 1 else pixels
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(squeezed), CHANNELS[channels])
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def set_embedding(document: Message, vector: Matrix | Sequence[float]) -> None:
    """Write an embedding [dim] into a document."""
    row = np.ascontiguousarray(vector, "<f4")
    array = document.embedding
    array.Clear()
    array.cls_name = NUMPY
    array.dense.buffer, array.dense.dtype = row.tobytes(), row.dtype.str
    array.dense.shape.append(len(row))


def drop_image(document: Message) -> None:
    """Remove the image of a document, which its client has already."""
    if document.WhichOneof("content") in IMAGES:
        document.ClearField(document.WhichOneof("content"))


def rank_matches(document: Message, query: Matrix, matches: Matrix) -> None:
    """Sort the matches of a document, best first, and give each its scores.

    `query` [dim] and `matches` [n, dim] are unit vectors. `clip_score` is the softmax of 100 times
    the cosines, as in CLIP, where 100 is the model's learned scale.
    """
    cosines = matches @ query
    powers = np.exp(100 * (cosines - cosines.max()))
    for match, cosine, score in zip(document.matches, cosines, powers / powers.sum(), strict=True):
        match.ClearField("embedding")
        _set_score(match, "clip_score", float(score), "softmax")
        _set_score(match, "clip_score_cosine", float(cosine), "cosine")
    document.matches.sort(key=lambda match: -match.scores["clip_score_cosine"].value)


def set_hits(document: Message, hits: list[Hit]) -> None:
    """Write hits, best first, into the matches of a document; the score becomes a distance.

    The uri is that which the client gave when it indexed the image, else the path.
    """
    del document.matches[:]
    for hit in hits:
        match = Document(id=hit.id, uri=str(hit.metadata.get(URI) or hit.path))
        match.tags.update(hit.metadata)
        _set_score(match, "cosine", 1 - hit.score, "cosine")
        document.matches.append(match)


def _set_score(document: Message, name: str, value: float, operation: str) -> None:
    score = document.scores[name]
    score.value, score.op_name = value, operation
