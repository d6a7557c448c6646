"""The msgpack messages of browsing: the newest images of a shard, and counts of values.

The order is by the time `when`, the newest first; of equal times, and without one, by id.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Generic, TypeVar

import msgspec

from common.errors import BadRequest
from search.filter import Filter, Value
from search.messages import Record

WHEN = "when"
"""The field that images are ordered by."""
MAX_LISTED = 101
"""Images in a reply: a page, and one more, which tells whether it is the last page."""
MAX_COUNTED = 10_000
"""Different values of a field that are counted."""
MAX_FIELDS = 8
"""Fields whose values are counted at once."""
ID_BYTES = 16
"""Of a key, those that are the id."""
Found = TypeVar("Found")


class Place(msgspec.Struct, array_like=True, frozen=True):
    """The place of an image in the order."""

    when: str | None
    """The first 1,025 characters of its `when`; None without one."""
    id: bytes
    """As bytes."""


class Listed(msgspec.Struct, array_like=True):
    """An image, with what its place in the order is by."""

    when: str | None
    key: bytes
    """An `IMAGE_KEY`."""
    record: Record

    @property
    def place(self) -> Place:
        """Where it stands in the order."""
        return Place(self.when, self.key[:ID_BYTES])


class ValueCount(msgspec.Struct, array_like=True):
    """How many images have a value."""

    value: Value
    count: int


class Counts(msgspec.Struct, array_like=True):
    """How many images of a shard pass, and how often they have which value of each field."""

    images: int
    fields: list[list[ValueCount]]


class BrowseRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The images after a place, or the first ones."""

    limit: int
    after: Place | None = None
    filter: Filter | None = None
    version_digest: str | None = msgspec.field(default=None, name="seal")
    min_position: int = 0


class CountRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The values of some fields among the images that pass."""

    fields: list[str]
    filter: Filter | None = None
    version_digest: str | None = msgspec.field(default=None, name="seal")
    min_position: int = 0


class ShardReply(msgspec.Struct, Generic[Found]):
    """What was found in each shard of a server, in one version."""

    version: str
    version_digest: str = msgspec.field(name="seal")
    space: str
    shard_count: int
    shards: dict[int, Found]
    position: int = 0


def too_many_values(field: str) -> BadRequest:
    """The refusal to count the values of a field of which nearly every image has its own."""
    return BadRequest(
        f"{field!r} has more than {MAX_COUNTED} values among these images: narrow the filter",
        "too_many_values",
    )


def merge_listed(parts: Iterable[Sequence[Listed]], limit: int) -> list[Listed]:
    """The first images of several parts, each in order."""
    merged = heapq.merge(*parts, key=lambda image: _order(image.place), reverse=True)
    return list(islice(merged, limit))


def is_in_order(places: Sequence[Place]) -> bool:
    """Whether no place comes before the one that it stands behind."""
    orders = [_order(place) for place in places]
    return all(first > second for first, second in pairwise(orders))


def merge_counts(parts: Iterable[Counts]) -> Counts:
    """The counts of all parts together; each value once."""
    images = 0
    fields: list[dict[tuple[bool, Value], int]] = []
    for part in parts:
        images += part.images
        fields = fields or [defaultdict(int) for _ in part.fields]
        for total, counts in zip(fields, part.fields, strict=True):
            for found in counts:  # with the type, as 1 and true are equal for Python
                total[isinstance(found.value, bool), found.value] += found.count
    return Counts(images, [[ValueCount(key[1], n) for key, n in total.items()] for total in fields])


def _order(place: Place) -> tuple[bool, str, int]:
    """A key that is greater for what comes earlier."""
    return place.when is not None, place.when or "", -int.from_bytes(place.id, "big")
