"""Checks of queries for what their types cannot express."""

import math
import unicodedata
from collections.abc import Sequence
from typing import TypeVar

from common.errors import BadRequest
from common.json_input import decode_json
from inference.prompt_checks import check_prompt, check_region
from middle.browse_messages import BrowseQuery, CountsQuery
from middle.messages import (
    MAX_EMBEDDING,
    MAX_TEXT,
    SOURCES,
    ClassifyQuery,
    EmbedQuery,
    Query,
)
from middle.segment_messages import SegmentQuery
from search.filter import Filter, check_filter

BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
"""Letters and symbols that show nothing: Hangul's fillers, Braille without dots, a null note."""

EMPTY_IMAGE = "the image is empty"

Asked = TypeVar("Asked", bound=Query)
Browsed = TypeVar("Browsed", BrowseQuery, CountsQuery)
SegmentAsked = TypeVar("SegmentAsked", bound=SegmentQuery)


def check(
    query: Asked, sources: Sequence[str] = SOURCES, pictures: Sequence[str] = ("image",)
) -> Asked:
    """Check a search by one of `sources`; of `pictures` it may name a region. Raises BadRequest."""
    source = check_source(query, sources)
    if query.text is not None:
        check_text(query.text)
    if query.region is not None:
        check_region(query.region)
        if source not in pictures:
            raise BadRequest(f"`region` goes with {' or '.join(pictures)}, not with {source}")
    if query.filter is not None:
        check_filter(query.filter)
    if query.embedding is not None:
        if not 0 < len(query.embedding) <= MAX_EMBEDDING:
            raise BadRequest(f"an embedding has 1 to {MAX_EMBEDDING} numbers", "wrong_length")
        length = math.hypot(*query.embedding)
        if not 1e-18 < length < 1e18:  # so that the square is finite and not zero
            raise BadRequest("an embedding must be finite and not zero")
    return query


def check_browse(query: Browsed) -> Browsed:
    """Check the filter of a query that has no picture and no text; raises BadRequest."""
    if query.filter is not None:
        check_filter(query.filter)
    return query


def read_filter(text: str) -> Filter:
    """The filter in a text of JSON; raises BadRequest."""
    return decode_json(text.encode(), Filter)


def check_source(query: Query | SegmentQuery, sources: Sequence[str]) -> str:
    """The one of `sources` that a query has; raises BadRequest."""
    given = [name for name in sources if getattr(query, name) is not None]
    if len(given) != 1:
        raise BadRequest(f"give exactly one of {', '.join(sources)}; got {len(given)}")
    if query.image == b"":
        raise BadRequest(EMPTY_IMAGE)
    return given[0]


def check_embed(query: EmbedQuery) -> EmbedQuery:
    """Check inputs to embed; raises BadRequest."""
    if bool(query.texts) == bool(query.images):
        raise BadRequest("give texts or images, one of the two")
    for place, text in enumerate(query.texts):
        check_text(text, f"input {place}: ")
    if b"" in query.images:
        raise BadRequest(EMPTY_IMAGE)
    _check_regions(query)
    return query


def check_classify(query: ClassifyQuery) -> ClassifyQuery:
    """Check images to classify; raises BadRequest."""
    _check_regions(query)
    labels = query.labels or []
    for label in labels:
        check_text(label)
    if len(set(labels)) < len(labels):
        raise BadRequest("two of the labels are the same")
    if query.template is not None:
        if query.template.count("{}") != 1:
            raise BadRequest("a template has {} once, where the label goes")
        check_text(query.template)
        if labels:
            check_text(query.template.replace("{}", max(labels, key=len)))
    return query


def check_segment(query: SegmentAsked, sources: Sequence[str] = ("image",)) -> SegmentAsked:
    """Check a segment of an image by one of `sources`; raises BadRequest."""
    check_source(query, sources)
    check_prompt(query)
    return query


def _check_regions(query: EmbedQuery | ClassifyQuery) -> None:
    images, regions = len(query.images), query.regions
    if regions and len(regions) != images:
        raise BadRequest(f"`regions` has one for each image: {images}; got {len(regions)}")
    for place, region in enumerate(regions):
        if region is not None:
            check_region(region, f"regions[{place}]")


def check_text(text: str, where: str = "") -> None:
    """Raise BadRequest for a text that is too long or has no visible character."""
    if len(text) > MAX_TEXT:
        raise BadRequest(f"{where}the text has {len(text)} characters; {MAX_TEXT} is the limit")
    if all(character in BLANK or unicodedata.category(character)[0] in "CZM" for character in text):
        raise BadRequest(f"{where}the text is empty")
