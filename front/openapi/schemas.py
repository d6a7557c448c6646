"""The schemas of the messages, as msgspec makes them from their types, in simpler words."""

import inspect
from typing import Any

import msgspec

from common.errors import Problem
from front.query import EmbedRequest, SearchQuery, SegmentRequest
from front.write_requests import DeleteRequest, PutRequest, WriteResults
from middle.browse_messages import BrowseAnswer, BrowseQuery, CountsQuery, FacetsAnswer
from middle.messages import (
    Answer,
    ClassifyAnswer,
    ClassifyQuery,
    EmbedAnswer,
    Image,
    Info,
)
from middle.segment_messages import SegmentAnswer
from middle.write_messages import PatchQuery, Written

TYPES = (
    SearchQuery,
    BrowseQuery,
    CountsQuery,
    Answer,
    BrowseAnswer,
    FacetsAnswer,
    EmbedRequest,
    EmbedAnswer,
    ClassifyQuery,
    ClassifyAnswer,
    SegmentRequest,
    SegmentAnswer,
    Image,
    Info,
    PutRequest,
    PatchQuery,
    DeleteRequest,
    Written,
    WriteResults,
    Problem,
)
NULL = {"type": "null"}
Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """The schema of each message, and of what it consists of, by name."""
    _, found = msgspec.json.schema_components(TYPES, ref_template="#/components/schemas/{name}")
    return {name: _plain(schema, _takes_null(schema)) for name, schema in found.items()}


def without_null(schema: Schema) -> Schema:
    """The schema of a field where it is written as text, in an address or a form."""
    kinds = [kind for kind in _kinds(schema) if kind != "null"]
    return {**schema, "type": kinds if len(kinds) > 1 else kinds[0]} if kinds else schema


def _takes_null(schema: Schema) -> bool:
    """Whether a message is one that is sent to us: then null stands for what is not there.

    Ours leave such a field out. Those that we are sent are checked for fields that we do not know.
    """
    return schema.get("additionalProperties") is False


def _plain(node: Any, takes_null: bool) -> Any:
    """A part of a schema without `anyOf`, which only ever lists types, and `prefixItems`."""
    if isinstance(node, list):
        return [_plain(part, takes_null) for part in node]
    if not isinstance(node, dict):
        return node
    found = {name: _plain(part, takes_null) for name, part in node.items() if name != "anyOf"}
    if "description" in found:
        found["description"] = inspect.cleandoc(str(found["description"]))
    if "prefixItems" in found:  # a tuple; all of ours are of one type
        found["items"] = found.pop("prefixItems")[0]
    if all(isinstance(value, str) for value in found.get("enum", [0])):
        found["type"] = "string"
    options = [_plain(option, takes_null) for option in node.get("anyOf", [])]
    if not options:
        return found
    for option in options:
        if "$ref" in option:  # another message, or null
            return option
    is_optional = "default" in found and found["default"] is None
    if is_optional:
        del found["default"]
        if not takes_null:
            options.remove(NULL)
    kinds = [kind for option in options for kind in _kinds(option)]
    merged = {name: value for option in options for name, value in option.items()}
    if len(kinds) > 1:
        merged["type"] = kinds
    return {**merged, **found}


def _kinds(schema: Schema) -> list[str]:
    """The types of a schema."""
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]
