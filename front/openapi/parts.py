"""What an operation is, and the parts of one: parameters, bodies and replies."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from front.openapi import examples
from front.openapi.schemas import Schema, without_null

JSON = "application/json"
FORM = "multipart/form-data"
Part = dict[str, Any]

FRESH: Part = {
    "name": "Cache-Control",
    "in": "header",
    "description": "`no-cache`: answer without what is cached",
    "schema": {"type": "string"},
}
DEADLINE: Part = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "description": "Wait no longer for the answer than so many milliseconds",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
}
IMAGE_ID: Part = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The `id` of a hit",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "example": examples.KITTEN,
}
UPLOADED_ID: Part = {**IMAGE_ID, "example": examples.UPLOADED}
CACHED: Part = {
    "X-Cache": {
        "description": "Where the answer is from; join: made together with an equal query",
        "schema": {"type": "string", "enum": ["hit", "miss", "join", "bypass"]},
    },
    "Age": {"description": "Seconds since a hit was made", "schema": {"type": "integer"}},
}
FILE: Schema = {
    "type": "string",
    "format": "binary",  # Swagger UI knows a list of files by this alone
    "contentMediaType": "application/octet-stream",
}
FILTER: Schema = {
    "type": "string",
    "description": "find only images that pass, by their fields: a Filter, as JSON",
}


class Operation(NamedTuple):
    """A method of a path."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str
    replies: Mapping[str, Any]
    errors: Sequence[str] = ()
    """Their codes, but for those of keys and rates."""
    parameters: Sequence[Mapping[str, Any]] = ()
    body: Mapping[str, Any] | None = None
    """By content type."""


def in_url(name: str, field: Schema) -> Part:
    """The parameter of an address for a field of a message."""
    schema = without_null(field)
    parameter: Part = {"name": name, "in": "query", "schema": schema}
    if "description" in schema:
        parameter["description"] = schema["description"]
    if name in examples.IN_URL:
        parameter["example"] = examples.IN_URL[name]
    return parameter


def as_text(field: Schema) -> Schema:
    """The schema of a list of numbers where it is written as text, with commas."""
    return {"type": "string", "description": field["description"]}


def message(name: str, given: Part) -> Part:
    """A body in JSON: a message, with its examples."""
    return {JSON: {"schema": _ref(name), "examples": given}}


def form(fields: dict[str, Schema], required: list[str], given: Part) -> Part:
    """A body that is a form; `given` has what stands in its fields beside the file."""
    shown = {
        name: {**without_null(field), "example": given[name]}
        if name in given
        else without_null(field)
        for name, field in fields.items()
    }
    schema = {
        "type": "object",
        "properties": shown,
        "required": required,
        "additionalProperties": False,
    }
    lists = [name for name, field in fields.items() if field["type"] == "array"]
    repeated = {name: {"style": "form", "explode": True} for name in lists}
    return {FORM: {"schema": schema, "encoding": repeated}}


def reply(description: str, name: str, example: Part, *others: str) -> Part:
    """A message as the reply, also in `others`: content types that are no JSON."""
    content = {JSON: {"schema": _ref(name), "example": example}, **{kind: {} for kind in others}}
    return {"200": {"description": description, "content": content}}


def status(description: str, word: str) -> Part:
    """The reply of a health route."""
    schema = {
        "type": "object",
        "properties": {"status": {"const": word}},
        "required": ["status"],
    }
    content = {JSON: {"schema": schema, "example": {"status": word}}}
    return {"200": {"description": description, "content": content}}


def file(description: str, content_type: str) -> Part:
    """A reply that is no JSON."""
    return {"200": {"description": description, "content": {content_type: {}}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
