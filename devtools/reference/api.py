"""docs/reference/api.md: every route of the public API, from front's OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import PROBLEM
from devtools.reference.examples import EXAMPLES, HEAD, REPLIES
from devtools.reference.markdown import code, item, limits_of, type_of, wrapped
from front.openapi.document import document
from front.openapi.schemas import without_null

SOURCE = "front/openapi/ and middle/messages.py"
JSON = "application/json"
Schema = Mapping[str, Any]


def page() -> str:
    """The page."""
    api = document(has_keys=True)
    schemas = api["components"]["schemas"]
    routes = [
        _route(method, path, operation)
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
    ]
    types = [_type(name, schemas[name]) for name in sorted(_named(api["paths"], schemas))]
    return "\n".join([HEAD, *routes, "## Types\n", *types])


def _route(method: str, path: str, operation: Schema) -> str:
    """The section of a route."""
    parts = [f"## {method.upper()} {path}", f"{operation['summary']}."]
    parts += [wrapped(paragraph) for paragraph in operation["description"].split("\n\n")]
    security = operation.get("security", [])
    if scopes := [scope for scheme in security for scope in scheme.get("key", [])]:
        parts.append(f"Scope of the key: `{scopes[0]}`.")
    name = operation["operationId"]
    parts.append(f"```\n{EXAMPLES[name].strip()}\n```")
    if name in REPLIES:
        parts.append(f"```json\n{REPLIES[name].strip()}\n```")
    parts += _parameters(operation.get("parameters", []))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts += [f"Body, `{kind}`:", _fields(content["schema"])]
    parts += [_replies(operation["responses"]), *_errors(operation["responses"])]
    return "\n\n".join(parts) + "\n"


def _parameters(parameters: list[Any]) -> Iterator[str]:
    """The lists of the path, query and header parameters."""
    for place, title in (("path", "Path"), ("query", "Parameters"), ("header", "Headers")):
        if found := [given for given in parameters if given["in"] == place]:
            yield f"{title}:"
            yield "\n".join(
                _field(given["name"], given["schema"], given.get("description", ""))
                for given in found
            )


def _fields(schema: Schema) -> str:
    """The fields of an object, or a link to its type."""
    if "$ref" in schema:
        return item(type_of(schema))
    is_sent = schema.get("additionalProperties") is False  # else it is a reply, with all fields
    required = schema.get("required", []) if is_sent else []
    return "\n".join(
        _field(name, without_null(field) if is_sent else field, is_required=name in required)
        for name, field in schema["properties"].items()
    )


def _field(name: str, schema: Schema, meaning: str = "", *, is_required: bool = False) -> str:
    """A line about a field: its type, limits, default and meaning."""
    facts = [type_of(schema), limits_of(schema)]
    if is_required:
        facts.append("required")
    elif schema.get("default") not in (None, "", []):
        facts.append(f"default {code(schema['default'])}")
    meaning = meaning or str(schema.get("description", ""))
    return item(
        f"`{name}` ({', '.join(filter(None, facts))})" + (f": {meaning}" if meaning else "")
    )


def _replies(responses: Schema) -> str:
    """A line about each reply that is no problem: its type and its headers."""
    lines = []
    for status, response in sorted(responses.items()):
        kinds = response.get("content", {})
        if PROBLEM in kinds:
            continue
        schema = kinds.get(JSON, {}).get("schema")
        shape = type_of(schema) if schema else ", ".join(f"`{kind}`" for kind in kinds)
        told = f", {shape}" if shape else ""
        lines.append(item(f"`{status}`{told}: {response['description']}"))
        for name, header in response.get("headers", {}).items():
            lines.append(item(f"header `{name}`: {header['description']}", depth=1))
    return "Reply:\n\n" + "\n".join(lines)


def _errors(responses: Schema) -> Iterator[str]:
    """A list of the codes of a route's problems, by status."""
    lines = []
    for status, response in sorted(responses.items()):
        if PROBLEM in response.get("content", {}):
            codes = response["content"][PROBLEM]["examples"]
            lines.append(item(f"{status}: {', '.join(f'`{name}`' for name in codes)}"))
    if lines:
        yield "Errors ([what they mean](errors.md)):"
        yield "\n".join(lines)


def _type(name: str, schema: Schema) -> str:
    """The section of a type."""
    description = wrapped(" ".join(schema.get("description", "").split()))
    return f"### {name}\n\n{description}\n\n{_fields(schema)}\n"


def _named(value: Any, schemas: Schema) -> set[str]:
    """The types that a part of the document uses, directly or through other types."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(schemas[name])
            waiting += part.values()
    return found
