"""Writes that are asked of middle, and what it answers: images that are put, changed, deleted."""

from typing import Annotated

import msgspec
from msgspec import Meta

from common.uploads import Placed
from middle.messages import Scalar

MAX_FIELDS = 64
MAX_NAME = 256
MAX_METADATA_BYTES = 16 * 2**10
"""The metadata of an image, packed: a shard has it in memory until the next prepare."""

Metadata = Annotated[
    dict[str, Scalar], Meta(description="fields of the image: texts, numbers, booleans or null")
]
Change = Annotated[
    dict[str, Scalar],
    Meta(description="fields to set; null removes a field, and the others stay as they are"),
]


class PutQuery(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """An image to put into the index, from front or the gateway."""

    image: bytes
    """The image file."""
    path: str
    """Where the file is, as `Record.path`: with the content it makes the id."""
    told_from: int = 0
    """As `Record.told_from`."""
    metadata: Metadata = {}
    facts: dict[str, str | int] = {}
    """As `Record.facts`."""


def put_query(placed: Placed, metadata: Metadata) -> PutQuery:
    """The query that puts a file which has its place."""
    return PutQuery(
        image=placed.data,
        path=placed.path,
        told_from=placed.told_from,
        metadata=metadata,
        facts=placed.facts,
    )


class PatchQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A change of the metadata of an image."""

    metadata: Change


class Written(msgspec.Struct):
    """A write that will not be lost."""

    id: Annotated[str, Meta(description="the id of the image")]
    position: Annotated[
        int, Meta(description="its place in the log: the `min_position` of a search that sees it")
    ]


class PutAnswer(Written):
    """A put that will not be lost."""

    embedding: list[float] = []
    """Of the image, unit length."""
