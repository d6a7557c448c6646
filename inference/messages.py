"""The messages of `POST /predictions/{model}`, msgpack, the same for both engines."""

from typing import NamedTuple

import msgspec

from common.errors import Problem

IMAGE_BATCH = 8
"""Images that a client sends together: 8 full-size uploads are as much as a body may hold."""


class Logits(NamedTuple):
    """How a model was trained to turn cosines into scores: logit = scale * cosine + bias.

    Without a bias the scores are a softmax (CLIP, Radford et al., 2021, arXiv:2103.00020), with
    one each is a sigmoid (SigLIP, Zhai et al., 2023, arXiv:2303.15343).
    """

    scale: float = 100.0
    """What all of OpenAI's models ended with: their training cut it there."""
    bias: float | None = None


class EmbedRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Texts or encoded image files to embed, one kind at a time."""

    texts: list[str] = []
    images: list[bytes] = []
    classify: bool = False
    """Instead of an image's embedding its classes, where the model has a classifier."""
    deadline_ms: float = 10_000
    describe: bool = False
    """Embed nothing: the reply has no rows and says what model it is."""


class EmbedReply(msgspec.Struct, omit_defaults=True):
    """One row for each input, in order; the row of an input that failed is zero."""

    model: str
    space: str
    """Digest of the image tower: vectors of different spaces cannot be compared."""
    dim: int
    rows: bytes
    """float32, little-endian, [inputs, dim], unit length."""
    problems: dict[int, Problem] = {}
    warnings: dict[int, str] = {}
    logits: Logits = Logits()
    labels: list[str] = []
    """Given, the rows are no embeddings but the probability of each of these classes."""
    digest: str = ""
    """Of all that makes an embedding of an input: with equal digests they are equal."""
