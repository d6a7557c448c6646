"""The msgpack messages of `POST /predictions/{model}`, for our own server and for TorchServe."""

from typing import NamedTuple

import msgspec

from common.errors import Problem

IMAGE_BATCH = 8
"""The most images in one request: the limit of a body is 8 images of the largest size."""

Region = tuple[float, float, float, float]
"""A part of an upright image: x0, y0, x1, y1 in parts of its width and height, from the top left
corner. 0 <= x0 < x1 <= 1, and so for y."""


Point = tuple[float, float, int]
"""A point of an upright image: x, y in parts of its width and height, and 1 if it is inside what is
sought, 0 if it is outside."""


class Logits(NamedTuple):
    """How a model turns a cosine into a score: logit = scale * cosine + bias.

    Without a bias, the scores are the softmax of the logits (CLIP, Radford et al., 2021,
    arXiv:2103.00020). With a bias, each score is the sigmoid of its logit (SigLIP, Zhai et al.,
    2023, arXiv:2303.15343).
    """

    scale: float = 100.0
    """The value of all OpenAI models, whose training limited the scale to 100."""
    bias: float | None = None


class EmbedRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Texts or encoded image files to embed; a request never has both."""

    texts: list[str] = []
    images: list[bytes] = []
    regions: dict[int, Region] = {}
    """Of an image, by its place: the part to embed. The others are embedded whole."""
    classify: bool = False
    """Reply with class probabilities, not embeddings, if the model has a classifier."""
    perceptual: bool = False
    """Reply with the perceptual hashes of images, too."""
    deadline_ms: float = 10_000
    describe: bool = False
    """Embed nothing. The reply describes the model and has no rows."""


class EmbedReply(msgspec.Struct, omit_defaults=True):
    """One row for each input, in order. The row of a failed input is zero."""

    model: str
    space: str
    """The digest of the image tower. Vectors of different spaces cannot be compared."""
    dim: int
    rows: bytes
    """float32, little-endian, [inputs, dim], unit length."""
    problems: dict[int, Problem] = {}
    warnings: dict[int, str] = {}
    logits: Logits = Logits()
    labels: list[str] = []
    """The class names. If there are any, a row has a probability for each, not an embedding."""
    digest: str = ""
    """The digest of everything that determines an embedding. If two replies have equal digests,
    equal inputs have equal embeddings."""
    perceptual: dict[int, str] = {}
    """If it is asked for, the perceptual hash of each image that has a row: 16 hex digits."""
    replicas: int = 1
    """How many batches the server computes at a time, for each kind of input."""

    def __post_init__(self) -> None:
        if self.dim < 1 or len(self.rows) % (4 * self.dim):
            raise ValueError(f"`rows` has {len(self.rows)} bytes: no rows of {self.dim} float32")


class SamEncodeRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """An encoded image file, for `POST /predictions/sam_encode`."""

    image: bytes = b""
    deadline_ms: float = 60_000
    describe: bool = False
    """Encode nothing. The reply describes the model and has no features."""


class SamEncodeReply(msgspec.Struct, omit_defaults=True):
    """What the decoder of the same model needs of an image; it serves any number of prompts."""

    model: str
    digest: str
    """The digest of everything that determines the features, and of the decoder."""
    size: tuple[int, int] = (0, 0)
    """Height and width of the upright image, in pixels. A large JPEG is decoded smaller."""
    features: bytes = b""
    """float16, little-endian, [1, 256, 64, 64]; of SAM 2 the arrays of `SAM2` in
    inference/segment/sam_layout.py, one after the other."""


class SegmentPrompt(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What is sought in an image: points, a box, or both."""

    points: list[Point] = []
    box: Region | None = None
    deadline_ms: float = 10_000


class SamDecodeRequest(SegmentPrompt, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A prompt on the features of an image, for `POST /predictions/sam_decode`."""

    features: bytes
    size: tuple[int, int]
    digest: str
    """As in `SamEncodeReply`: another model than the encoder's is an error."""


class GrabCutRequest(SegmentPrompt, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A prompt on an encoded image file, for `POST /predictions/grabcut`."""

    image: bytes


class SegmentReply(msgspec.Struct, omit_defaults=True):
    """The segment of a prompt."""

    box: Region
    """Around the mask."""
    score: float
    """The quality of the mask that the model expects, 0 to 1; of GrabCut, the share of the box that
    the mask fills."""
    mask: bytes
    """A PNG of one bit, in the shape of the upright image, longer side 1,024 pixels at most."""
