"""From an HTTP request, in each form that the public API takes, to a checked query."""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

import msgspec
from flask import Request

from common.errors import BadRequest, UnsupportedMedia
from middle.messages import EmbedQuery, Query, check, check_embed, decode_json


def read_query(request: Request) -> Query:
    """The query in a request's JSON, form or address; raises a ServiceError."""
    if request.method in ("GET", "HEAD"):
        return check(_from_fields(_url_fields(request), {}))
    _check_post(request)
    if request.mimetype == "multipart/form-data":
        return check(_from_form(request))
    return check(decode_json(_json_body(request), Query))


def read_embed_query(request: Request) -> EmbedQuery:
    """The inputs to embed in a request's JSON; raises a ServiceError."""
    _check_post(request)
    return check_embed(decode_json(_json_body(request), EmbedQuery))


def _check_post(request: Request) -> None:
    if request.query_string:
        raise BadRequest("parameters go into the body of a POST, not into its address")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("send the body without a Content-Encoding")


def _json_body(request: Request) -> bytes:
    if request.mimetype != "application/json":
        raise UnsupportedMedia("send application/json or multipart/form-data")
    body = request.get_data(cache=False)
    if request.content_length is None:
        request.stream.read(1)  # raises where the body goes on: get_data cuts it at the limit
    return body


def _url_fields(request: Request) -> list[tuple[str, str]]:
    """The parameters of the address; raises BadRequest where they are not UTF-8."""
    try:
        text = request.query_string.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise BadRequest("the address holds what is not UTF-8, or too much") from None


def _from_form(request: Request) -> Query:
    files = list(request.files.items(multi=True))
    fields = list(request.form.items(multi=True))
    if not files and not fields:
        raise BadRequest("the form is empty or has no boundary")
    if any("\N{REPLACEMENT CHARACTER}" in value for _, value in fields):
        raise BadRequest("the form holds what is not UTF-8")
    if any(name != "image" for name, _ in files) or len(files) > 1:
        raise BadRequest("a form has one file at most, in the field `image`")
    given = {}
    for name, file in files:
        given[name] = file.stream.read()
        if not given[name]:
            raise BadRequest("the image is empty")
    return _from_fields(fields, given)


def _from_fields(fields: Iterable[tuple[str, str]], files: Mapping[str, bytes]) -> Query:
    """A query from text fields, each at most once; raises BadRequest naming the field."""
    given: dict[str, object] = dict(files)
    for name, value in fields:
        if name in given:
            raise BadRequest(f"parameter {name!r} is given twice")
        if name in ("image", "embedding"):
            raise BadRequest(f"parameter {name!r} does not go here: send JSON, or a file")
        given[name] = value
    try:
        # not strict: here numbers are written as text
        return msgspec.convert(given, Query, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None
