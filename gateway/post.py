"""POST /post: a request in JSON, as clip-client sends it over HTTP and curl can."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from common.errors import BadRequest
from common.wire import UNREADABLE
from gateway.documents import array_of
from gateway.wire import DataRequest, Document, Message

MAX_DEPTH = 8
"""Of documents in documents; the client sends two levels, documents and their matches."""
BELOW = ("chunks", "matches")

Fields = dict[str, Any]


class Post(msgspec.Struct):
    """The body; other fields of it are not read."""

    data: list[Fields] | dict[str, list[Fields] | None] | None = None
    header: Fields | None = None
    parameters: Fields | None = None
    exec_endpoint: str | None = None
    exec_endpoint_of_curl: str | None = msgspec.field(default=None, name="execEndpoint")


def read_post(body: bytes) -> Message:
    """The DataRequest in a body; raises BadRequest."""
    try:
        post = msgspec.json.decode(body, type=Post)
    except UNREADABLE as error:
        raise BadRequest(f"malformed JSON: {error}") from None
    request = DataRequest()
    header = post.header or {}
    endpoint = post.exec_endpoint or post.exec_endpoint_of_curl or header.get("exec_endpoint")
    request.header.exec_endpoint = str(endpoint or "/")
    request.header.request_id = str(header.get("request_id") or "")
    data = post.data
    documents = data.get("docs") if isinstance(data, dict) else data
    for place, fields in enumerate(documents or []):
        try:
            request.data.docs.docs.append(read_document(fields))
        except BadRequest as error:
            raise BadRequest(f"document {place}: {error.detail}") from None
    _parse({"parameters": post.parameters}, request)
    return request


def read_document(fields: Mapping[str, Any], depth: int = 1) -> Message:
    """A document from its JSON: `blob` in base64, `tensor` as nested lists. Raises BadRequest."""
    if depth > MAX_DEPTH:
        raise BadRequest("documents are nested too deeply")
    rest = {name: value for name, value in fields.items() if value is not None}
    below = {name: rest.pop(name, []) for name in BELOW}
    tensor, blob = rest.pop("tensor", None), rest.pop("blob", None)
    rest.pop("embedding", None)  # it is made anew
    document = Document()
    _parse(rest, document)
    if blob is not None:
        document.blob = _decoded(blob)
    elif tensor is not None:
        _set_tensor(document.tensor, tensor)
    for name, documents in below.items():
        if not isinstance(documents, list) or not all(isinstance(item, dict) for item in documents):
            raise BadRequest(f"{name} must be a list of documents")
        getattr(document, name).extend(read_document(item, depth + 1) for item in documents)
    return document


def write_reply(reply: Message) -> bytes:
    """The JSON of a reply: the client refuses any other field than these four."""
    return msgspec.json.encode(
        {
            "header": _fields(reply.header),
            "parameters": _fields(reply.parameters),
            "routes": [_fields(route) for route in reply.routes],
            "data": [write_document(document) for document in reply.data.docs.docs],
        }
    )


def write_document(document: Message) -> Fields:
    """The JSON of a document, its embedding and tensor as lists."""
    arrays = {
        name: array_of(getattr(document, name)).tolist()
        for name in ("embedding", "tensor")
        if document.HasField(name)
    }
    below = {
        name: [write_document(item) for item in getattr(document, name)]
        for name in BELOW
        if getattr(document, name)
    }
    rest = Document()
    rest.CopyFrom(document)
    for name in (*arrays, *below):
        rest.ClearField(name)
    return {**_fields(rest), **arrays, **below}


def _decoded(blob: Any) -> bytes:
    try:
        return base64.b64decode(blob, validate=True)
    except (TypeError, ValueError):
        raise BadRequest("blob must be base64") from None


def _set_tensor(array: Message, lists: Any) -> None:
    try:
        values = np.asarray(lists)
        if values.dtype.kind not in "uif":
            raise ValueError
    except ValueError:
        raise BadRequest("a tensor must be nested lists of numbers, of equal lengths") from None
    if values.dtype.kind != "f":
        values = values.clip(0, 255).astype(np.uint8)
    array.dense.buffer, array.dense.dtype = values.tobytes(), values.dtype.str
    array.dense.shape.extend(values.shape)


def _fields(message: Message) -> Fields:
    found: Fields = MessageToDict(message, preserving_proto_field_name=True)
    return found


def _parse(fields: Fields, message: Message) -> None:
    try:
        ParseDict(fields, message, ignore_unknown_fields=True, max_recursion_depth=50)
    except (ParseError, ValueError, TypeError, OverflowError, RecursionError):
        known = ", ".join(name for name in fields)
        raise BadRequest(
            f"one of these has a wrong type or is nested too deeply: {known}"
        ) from None
