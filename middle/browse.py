"""Browsing without a query, and counts of values: what all shards list, merged."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import msgspec

from common.errors import BadRequest
from common.wire import UNREADABLE, encode
from middle.browse_messages import (
    BrowseAnswer,
    BrowsedImage,
    BrowseQuery,
    CountsQuery,
    FacetsAnswer,
)
from middle.facet_messages import MAX_VALUES, Facet, FacetValue
from middle.fan_out import FanOut
from middle.fan_out_result import FanOutResult
from search.browse_messages import (
    ID_BYTES,
    MAX_COUNTED,
    BrowseRequest,
    CountRequest,
    Counts,
    Listed,
    Place,
    ValueCount,
    merge_counts,
    merge_listed,
    too_many_values,
)
from search.filter import Value
from search.image_key import image_id


class Browser:
    """Lists and counts the images of all shards, on one event loop."""

    def __init__(self, fan_out: FanOut, min_coverage: float) -> None:
        """The caller closes the fan-out."""
        self._fan_out = fan_out
        self._min_coverage = min_coverage

    async def browse(self, query: BrowseQuery, deadline: float) -> BrowseAnswer:
        """A page of images, the newest first; raises a ServiceError."""
        after = None if query.cursor is None else read_cursor(query.cursor)
        message = BrowseRequest(
            query.limit + 1, after, query.filter, min_position=query.min_position
        )
        found = await self._fan_out.browse(message, deadline)
        found.check(self._min_coverage)
        listed = merge_listed(found.shards.values(), query.limit + 1)
        page = listed[: query.limit]
        return BrowseAnswer(
            list(map(_browsed, page)),
            cursor_of(page[-1].place) if len(listed) > len(page) else None,
            found.coverage,
            found.version,
            found.position,
        )

    async def facets(self, query: CountsQuery, deadline: float) -> FacetsAnswer:
        """The values of some fields and how often they are there; raises a ServiceError."""
        message = CountRequest(query.field, query.filter, min_position=query.min_position)
        found, facets = await count_values(self._fan_out, message, deadline)
        found.check(self._min_coverage)
        images = sum(counts.images for counts in found.shards.values())
        return FacetsAnswer(images, facets, found.coverage, found.version, found.position)


async def count_values(
    fan_out: FanOut, message: CountRequest, deadline: float
) -> tuple[FanOutResult[Counts], dict[str, Facet]]:
    """The values of some fields and how often they are there, by field; raises a ServiceError."""
    found = await fan_out.counts(message, deadline)
    merged = merge_counts(found.shards.values())
    counted = zip(message.fields, merged.fields, strict=True)
    return found, {field: _facet(field, values) for field, values in counted}


def cursor_of(place: Place) -> str:
    """The cursor of the page after a place. It stays valid while images come and go."""
    return urlsafe_b64encode(encode(place)).decode().rstrip("=")


def read_cursor(text: str) -> Place:
    """The place of a cursor; raises BadRequest for a text that is none."""
    try:
        packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place = msgspec.msgpack.decode(packed, type=Place)
    except (*UNREADABLE, ValueError):
        place = None
    if place is None or len(place.id) != ID_BYTES:
        raise BadRequest("the cursor is none that this server gave", "bad_cursor")
    return place


def _browsed(listed: Listed) -> BrowsedImage:
    identity, record = image_id(listed.key), listed.record
    return BrowsedImage(
        identity,
        record.told_path,
        f"/v1/images/{identity}/thumbnail",
        record.metadata,
        record.offline,
        record.facts,
    )


def _facet(field: str, counts: Sequence[ValueCount]) -> Facet:
    """The values of most images; raises BadRequest for too many values."""
    if len(counts) > MAX_COUNTED:
        raise too_many_values(field)
    by_count = sorted(counts, key=_order)
    values = [FacetValue(found.value, found.count) for found in by_count[:MAX_VALUES]]
    return Facet(values, len(counts) - len(values))


def _order(found: ValueCount) -> tuple[int, bool, Value]:
    """The most frequent first, then by value, of which only those of one kind compare."""
    return -found.count, isinstance(found.value, str), found.value
