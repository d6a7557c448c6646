"""The decoding of an HTTP request, in each form that the public API takes, to a checked query."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from flask import Request
from msgspec import Meta

from common.errors import BadRequest, UnsupportedMedia
from common.json_input import decode_json, refusal
from middle.browse_messages import BrowseQuery, CountsQuery
from middle.messages import SOURCES, ClassifyQuery, EmbedQuery, Query, Scalar
from middle.query_checks import (
    check,
    check_browse,
    check_classify,
    check_embed,
    check_segment,
    read_filter,
)
from middle.segment_messages import Point, SegmentQuery

Message = TypeVar("Message")
Fields = list[tuple[str, str]]
ImageUrl = Annotated[
    str, Meta(description="where an image is, http or https; off unless the server says so")
]
MAX_TEXTS = 2048
"""Texts to embed in a request: as many as OpenAI takes."""
MAX_VALUES = 2**20
"""Commas in a request to embed, of which most are in its texts."""
NOT_AS_TEXT = ("image", "images", "labels", "regions", "embedding")
WHOLE_NUMBERS = ("k", "top", "limit", "min_position")
NUMBERS = ("region", "box")
REPEATED = ("facets", "field")
PICTURES = ("image", "image_url", "id")


class SearchQuery(Query, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What to search for, by exactly one of text, image, image_url, id and embedding."""

    image_url: ImageUrl | None = None


class SegmentRequest(SegmentQuery, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What to find in a picture, which is exactly one of image, image_url and id."""

    image_url: ImageUrl | None = None
    id: (
        Annotated[
            str,
            Meta(
                description="the id of an indexed image",
                extra_json_schema={"pattern": "^[0-9a-f]{32}$"},
            ),
        ]
        | None
    ) = None


class EmbedRequest(EmbedQuery, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Texts or images to embed, one kind at a time."""

    texts: Annotated[list[str], Meta(max_length=MAX_TEXTS, description="in any language")] = (
        msgspec.field(default_factory=list)
    )


def read_query(request: Request) -> SearchQuery:
    """The query in a request's JSON, form or URL; raises a ServiceError."""
    if request.method in ("GET", "HEAD"):
        return check_query(_from_fields(_url_fields(request), {}, SearchQuery))
    check_post(request)
    if request.mimetype == "multipart/form-data":
        return check_query(from_form(request, SearchQuery))
    return check_query(decode_json(json_body(request), SearchQuery))


def read_embed_request(request: Request) -> EmbedRequest:
    """The inputs to embed in a request's JSON; raises a ServiceError."""
    check_post(request)
    asked = decode_json(json_body(request), EmbedRequest, MAX_VALUES)
    check_embed(asked)
    return asked


def read_classify_query(request: Request) -> ClassifyQuery:
    """The images to classify in a request's JSON or form; raises a ServiceError."""
    check_post(request)
    if request.mimetype != "multipart/form-data":
        return check_classify(decode_json(json_body(request), ClassifyQuery))
    files, fields = _read_form(request)
    given: dict[str, object] = {"images": files}
    if labels := [value for name, value in fields if name == "label"]:
        given["labels"] = labels
    if regions := [value for name, value in fields if name == "region"]:
        given["regions"] = [_numbers(value) if value else None for value in regions]
    others = [field for field in fields if field[0] not in ("label", "region")]
    return check_classify(_from_fields(others, given, ClassifyQuery))


def read_segment_request(request: Request) -> SegmentRequest:
    """What to find in which picture, in a request's JSON or form; raises a ServiceError."""
    check_post(request)
    if request.mimetype == "multipart/form-data":
        asked = from_form(request, SegmentRequest)
    else:
        asked = decode_json(json_body(request), SegmentRequest)
    return check_segment(asked, PICTURES)


def read_browse_query(request: Request) -> BrowseQuery:
    """Which images to list, in a request's URL; raises a ServiceError."""
    return check_browse(_from_fields(_url_fields(request), {}, BrowseQuery))


def read_counts_query(request: Request) -> CountsQuery:
    """Which values to count, in a request's URL; raises a ServiceError."""
    return check_browse(_from_fields(_url_fields(request), {"field": []}, CountsQuery))


def check_query(query: SearchQuery) -> SearchQuery:
    """Check what the types cannot express; raises BadRequest."""
    return check(query, (*SOURCES, "image_url"), PICTURES)


def check_post(request: Request) -> None:
    """Raise a ServiceError for what no body may have beside it."""
    if request.query_string:
        raise BadRequest("parameters go into the body of a POST, not into its address")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("send the body without a Content-Encoding")


def json_body(request: Request) -> bytes:
    """The body of a request, which is JSON; raises a ServiceError."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia("send application/json or multipart/form-data")
    body = request.get_data(cache=False)
    if request.content_length is None:
        request.stream.read(1)  # raises if the body is over the limit, where get_data stops
    return body


def _url_fields(request: Request) -> Fields:
    """The parameters of the URL; raises BadRequest if they are not UTF-8."""
    try:
        text = request.query_string.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise BadRequest("the address holds what is not UTF-8, or too much") from None


def from_form(request: Request, kind: type[Message]) -> Message:
    """The message in a request's form, with its file as `image`; raises BadRequest."""
    files, fields = _read_form(request)
    if len(files) > 1:
        raise BadRequest("a form has one file at most, in the field `image`")
    return _from_fields(fields, {"image": files[0]} if files else {}, kind)


def _read_form(request: Request) -> tuple[list[bytes], Fields]:
    """The files of a form, all in the field `image`, and its other fields; raises BadRequest."""
    files = list(request.files.items(multi=True))
    fields = list(request.form.items(multi=True))
    if not files and not fields:
        raise BadRequest("the form is empty or has no boundary")
    if any("\N{REPLACEMENT CHARACTER}" in value for _, value in fields):
        raise BadRequest("the form holds what is not UTF-8")
    if any(name != "image" for name, _ in files):
        raise BadRequest("a file goes into the field `image`")
    return [file.stream.read() for _, file in files], fields


def _from_fields(
    fields: Iterable[tuple[str, str]], given: Mapping[str, object], kind: type[Message]
) -> Message:
    """A message of text fields, each at most once, and of `given` fields; raises BadRequest."""
    values: dict[str, Any] = dict(given)
    for name, value in fields:
        if name in NOT_AS_TEXT:
            raise BadRequest(f"parameter {name!r} does not go here: send JSON, or a file")
        if name in REPEATED:
            values[name] = [*values.get(name, []), value]
            continue
        if name in values:
            raise BadRequest(f"parameter {name!r} is given twice")
        if name in WHOLE_NUMBERS and not value.lstrip("-").isdecimal():  # msgspec takes 1e1
            raise BadRequest(f"parameter {name!r} is a whole number")
        values[name] = _value(name, value)
    try:
        # not strict, as the numbers are text here
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise refusal(error, kind) from None


def _value(name: str, text: str) -> object:
    """The value of a field that is written as text; raises BadRequest."""
    if name in NUMBERS:
        return _numbers(text)
    if name == "filter":
        return read_filter(text)
    if name == "metadata":
        return decode_json(text.encode(), dict[str, Scalar])
    if name != "points":
        return text
    try:
        return msgspec.json.decode(text, type=list[Point], strict=False)
    except msgspec.DecodeError:
        raise BadRequest("`points` is a list in JSON: [[x, y, 1], ...]") from None


def _numbers(text: str) -> list[str]:
    """The numbers in a text: with commas between them, or a list in JSON."""
    return [
        number.strip() for number in text.strip().removeprefix("[").removesuffix("]").split(",")
    ]
