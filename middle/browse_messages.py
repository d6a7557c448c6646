"""Queries and answers of browsing and of counting values, as those of a search."""

from typing import Annotated

import msgspec
from msgspec import Meta

from middle.facet_messages import Facets
from middle.messages import Coverage, MinPosition, Position, RequestId, Scalar
from search.browse_messages import MAX_FIELDS, MAX_LISTED
from search.filter import Filter

MAX_PAGE = MAX_LISTED - 1
"""Images in an answer."""
Passing = Annotated[Filter, Meta(description="only images that pass, by their fields")]


class BrowseQuery(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """The images of the collection, the newest first."""

    filter: Passing | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="how many images at most")] = 50
    cursor: Annotated[str, Meta(description="the `next` of the page before")] | None = None
    min_position: MinPosition = 0


class BrowsedImage(msgspec.Struct):
    """An image of the collection; as a hit, without a score."""

    id: Annotated[str, Meta(description="stays the same while the file and its path do")]
    path: Annotated[str, Meta(description="the path of the file, from the folder that was indexed")]
    thumbnail: Annotated[str, Meta(description="the address of a small JPEG of the image")]
    metadata: Annotated[dict[str, Scalar], Meta(description="the other columns of its table")]
    offline: Annotated[bool, Meta(description="whether its file was absent at the last prepare")]
    facts: Annotated[dict[str, str | int], Meta(description="of its file, as of a hit")]


class BrowseAnswer(msgspec.Struct):
    """A page of images."""

    images: Annotated[list[BrowsedImage], Meta(description="the newest first")]
    next: Annotated[str | None, Meta(description="the cursor of the next page; null: no more")]
    coverage: Coverage
    index_version: Annotated[str, Meta(description="the version that all images are from")]
    position: Position
    request_id: RequestId = ""


class CountsQuery(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """The values of some fields."""

    field: Annotated[
        list[str],
        Meta(min_length=1, max_length=MAX_FIELDS, description="a field, may be repeated"),
    ]
    filter: Passing | None = None
    min_position: MinPosition = 0


class FacetsAnswer(msgspec.Struct):
    """The values of some fields among the images that pass the filter."""

    images: Annotated[int, Meta(description="images that pass")]
    facets: Facets
    coverage: Coverage
    index_version: Annotated[str, Meta(description="the version that all counts are from")]
    position: Position
    request_id: RequestId = ""
