"""Queries and answers of middle, in JSON (from clients) or msgpack (from front)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from common.errors import Problem
from inference.messages import Region
from middle.facet_messages import Counted, Facets
from search.filter import Filter
from search.messages import Fields

MAX_TEXT = 2000
MAX_HITS = 1000
MAX_EMBEDDING = 8192
MAX_INPUTS = 64
MAX_LABELS = 1000
MAX_POSITION = 2**53
"""The largest whole number that JSON is sure to carry."""
SOURCES = ("text", "image", "id", "embedding")

ModelChoice = Literal["auto", "clip", "mclip"]
Dedup = Literal["exact", "near", "none"]
Scalar = str | int | float | bool | None
Position = Annotated[int, Meta(description="all writes up to this position are in the answer")]
MinPosition = Annotated[
    int, Meta(ge=0, le=MAX_POSITION, description="wait for this write: the `position` of a put")
]
Warnings = Annotated[list[str], Meta(description="what the client should know of the answer")]
Regions = Annotated[
    list[Region | None],
    Meta(description="of each image the part to embed, as `region` of a search; null: all of it"),
]
RequestId = Annotated[str, Meta(description="the id of the request, as in the logs")]


class Query(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A search by exactly one of text, image, id and embedding."""

    text: (
        Annotated[
            str,
            Meta(
                description="what the images should show, in any language",
                extra_json_schema={"minLength": 1, "maxLength": MAX_TEXT},
            ),
        ]
        | None
    ) = None
    image: Annotated[bytes, Meta(description="an image file, in base64")] | None = None
    id: (
        Annotated[
            str,
            Meta(
                description="the id of an indexed image: more like it",
                extra_json_schema={"pattern": "^[0-9a-f]{32}$"},
            ),
        ]
        | None
    ) = None
    region: (
        Annotated[
            Region,
            Meta(
                description="the part of the picture to search by: x0, y0, x1, y1 in parts of 1 of "
                "its width and height as shown, from the top left corner"
            ),
        ]
        | None
    ) = None
    embedding: (
        Annotated[
            list[float],
            Meta(
                description="a vector of the index's model",
                extra_json_schema={"minItems": 1, "maxItems": MAX_EMBEDDING},
            ),
        ]
        | None
    ) = None
    k: Annotated[int, Meta(ge=1, le=MAX_HITS, description="how many hits at most")] = 10
    model: Annotated[
        ModelChoice, Meta(description="the text model; auto: clip for English, else mclip")
    ] = "auto"
    dedup: Annotated[
        Dedup, Meta(description="drop copies of a better hit: same file, or looks the same")
    ] = "exact"
    min_score: Annotated[float, Meta(ge=-1, le=1, description="lowest allowed score")] | None = None
    require_full: Annotated[bool, Meta(description="fail unless all shards answer")] = False
    filter: (
        Annotated[Filter, Meta(description="find only images that pass, by their fields")] | None
    ) = None
    facets: Counted = []
    min_position: MinPosition = 0


class Hit(msgspec.Struct):
    """An image that was found."""

    id: Annotated[str, Meta(description="stays the same while the file and its path do")]
    score: Annotated[float, Meta(description="the cosine: higher is better")]
    path: Annotated[str, Meta(description="the path of the file, from the folder that was indexed")]
    thumbnail: Annotated[str, Meta(description="the address of a small JPEG of the image")]
    metadata: Annotated[dict[str, Scalar], Meta(description="the other columns of its table")]
    offline: Annotated[bool, Meta(description="whether its file was absent at the last prepare")]
    facts: Annotated[
        dict[str, str | int],
        Meta(description="of its file: `size` in bytes, `modified`, and of EXIF `taken`, `camera`"),
    ] = {}
    region: (
        Annotated[
            Region,
            Meta(
                description="the part that was found: x0, y0, x1, y1 in parts of 1 of the picture"
                " as shown. It is left out if all of the picture was found."
            ),
        ]
        | UnsetType
    ) = UNSET


class ShardCounts(msgspec.Struct):
    """How the shards of the index answered."""

    total: Annotated[int, Meta(description="shards of the index")]
    ok: Annotated[int, Meta(description="shards that answered")]
    timeout: Annotated[int, Meta(description="shards that did not answer in time")]
    failed: Annotated[int, Meta(description="shards that failed in another way")]


class Coverage(msgspec.Struct):
    """The part of the index that answered."""

    shards: ShardCounts
    fraction: Annotated[float, Meta(description="the part of the shards that answered")]
    degraded: Annotated[bool, Meta(description="whether a shard is missing")]


class Answer(msgspec.Struct):
    """The reply to a query."""

    hits: Annotated[list[Hit], Meta(description="the best first")]
    coverage: Coverage
    index_version: Annotated[str, Meta(description="the version that all hits are from")]
    position: Position
    model: Annotated[str | None, Meta(description="the model of the query; null without a model")]
    took_ms: Annotated[dict[str, float], Meta(description="of `embed`, `search` and `total`")]
    warnings: Warnings = []
    request_id: RequestId = ""
    facets: Facets | UnsetType = UNSET


class EmbedQuery(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Texts or images to embed, one kind at a time."""

    texts: Annotated[list[str], Meta(max_length=MAX_INPUTS, description="in any language")] = []
    images: Annotated[
        list[bytes], Meta(max_length=MAX_INPUTS, description="image files, in base64")
    ] = []
    regions: Regions = []
    model: Annotated[ModelChoice, Meta(description="the text model; auto: by each text")] = "auto"


class EmbedAnswer(msgspec.Struct):
    """An embedding for each input, unit length, in order."""

    embeddings: Annotated[list[list[float]], Meta(description="of each input, in order")]
    model: Annotated[str, Meta(description="the model of the last input")]
    warnings: Warnings = []
    request_id: RequestId = ""


class ClassifyQuery(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Images to classify: into labels that are given, or into the 1,000 classes of ImageNet.

    With labels, template or model, a text model classifies (zero-shot). Otherwise the image model's
    own classifier answers, if there is one.
    """

    images: Annotated[
        list[bytes],
        Meta(min_length=1, max_length=MAX_INPUTS, description="image files, in base64"),
    ]
    regions: Regions = []
    labels: (
        Annotated[
            list[str], Meta(min_length=1, max_length=MAX_LABELS, description="no two the same")
        ]
        | None
    ) = None
    template: (
        Annotated[str, Meta(description="a text with {} where a label goes: a photo of a {}.")]
        | None
    ) = None
    top: Annotated[int, Meta(ge=1, le=MAX_LABELS, description="how many classes at most")] = 5
    model: Annotated[
        ModelChoice, Meta(description="the text model for the labels; auto: by the labels")
    ] = "auto"


class ClassScore(msgspec.Struct):
    """A class that an image may be of."""

    label: Annotated[str, Meta(description="one of the labels, or a class of ImageNet")]
    score: Annotated[float, Meta(description="0 to 1, higher is better")]


class Classified(msgspec.Struct, omit_defaults=True):
    """The result of one image: its classes, best first, or a problem."""

    classes: Annotated[list[ClassScore] | None, Meta(description="the best first")] = None
    problem: Annotated[Problem | None, Meta(description="why there are no classes")] = None


class ClassifyAnswer(msgspec.Struct):
    """The classes of each image, in order."""

    results: Annotated[list[Classified], Meta(description="of each image, in order")]
    model: Annotated[str, Meta(description="the text model, or the image model")]
    method: Annotated[Literal["zero-shot", "classifier"], Meta(description="what made the scores")]
    took_ms: Annotated[dict[str, float], Meta(description="of `labels`, `images` and `total`")]
    warnings: Warnings = []
    request_id: RequestId = ""


class Image(msgspec.Struct):
    """An indexed image, for front."""

    id: str
    path: str
    """As hits tell it."""
    metadata: dict[str, Any]
    file: str
    """Where front finds the file; no answer of front has it."""


class Info(msgspec.Struct):
    """The index that can be searched."""

    images: Annotated[int, Meta(description="images in the index")]
    index_version: Annotated[str, Meta(description="the version in use")]
    model: Annotated[str, Meta(description="the model that embedded the images")]
    dim: Annotated[int, Meta(description="numbers in an embedding")]
    shards: Annotated[int, Meta(description="shards of the index")]
    position: Annotated[int, Meta(description="all search servers have the writes up to it")]
    fields: Annotated[
        Fields, Meta(description="what `filter` can test: the kinds of value that each field has")
    ] = {}
