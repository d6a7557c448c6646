"""Counts of values, in the answers of a search and of browsing."""

from typing import Annotated

import msgspec
from msgspec import Meta

from search.browse_messages import MAX_FIELDS
from search.filter import Value

MAX_VALUES = 100
"""Values of a field in an answer."""


class FacetValue(msgspec.Struct):
    """A value and how often it is there."""

    value: Value
    count: Annotated[int, Meta(description="images that have it")]


class Facet(msgspec.Struct):
    """The values of a field."""

    values: Annotated[list[FacetValue], Meta(description="of most images first")]
    more: Annotated[int, Meta(description="how many further values there are")]


Counted = Annotated[
    list[str],
    Meta(
        max_length=MAX_FIELDS,
        description="count the values of these fields among all images that pass the filter,"
        " not the hits alone",
    ),
]
Facets = Annotated[dict[str, Facet], Meta(description="the values of each field that was asked")]
