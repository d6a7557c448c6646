"""Markdown of the reference pages: wrapped lines, lists, types and limits of JSON Schema."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 100
WORDS = {
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "integer": "integer",
    "number": "number",
    "object": "object",
}


def wrapped(text: str) -> str:
    """A paragraph in lines of `WIDTH`."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def item(text: str, depth: int = 0) -> str:
    """An item of a list in lines of `WIDTH`; `depth` is the number of lists around it."""
    indent = "  " * depth
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def code(value: Any) -> str:
    """A value as JSON, as code."""
    return f"`{json.dumps(value)}`"


def type_of(schema: Mapping[str, Any]) -> str:
    """The type of a schema in words: the JSON type, or the allowed values."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(type_of(choice) for choice in schema["anyOf"])
    if "contentEncoding" in schema:
        return str(schema["contentEncoding"])
    if "contentMediaType" in schema:
        return "file"
    if isinstance(schema.get("type"), list):
        return " or ".join(type_of({**schema, "type": kind}) for kind in schema["type"])
    if schema.get("type") == "array":
        items = type_of(schema.get("items", {}))
        return f"list of ({items})" if " or " in items else f"list of {items}"
    if "additionalProperties" in schema and not isinstance(schema["additionalProperties"], bool):
        return f"object of {type_of(schema['additionalProperties'])}"
    return WORDS.get(schema.get("type", ""), "any value")


def limits_of(schema: Mapping[str, Any]) -> str:
    """The limits of a schema in words; "" where it has none."""
    if "anyOf" in schema:
        return next(filter(None, (limits_of(choice) for choice in schema["anyOf"])), "")
    found = []
    if "minimum" in schema and "maximum" in schema:
        found.append(f"{schema['minimum']} to {schema['maximum']}")
    elif "minimum" in schema:
        found.append(f"at least {schema['minimum']}")
    if "exclusiveMinimum" in schema:
        found.append(f"over {schema['exclusiveMinimum']}")
    for name, most, things in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
    ):
        if most in schema:
            least = "" if schema.get(name) == schema[most] else f"{schema.get(name, 0)} to "
            found.append(f"{least}{schema[most]} {things}")
    if "pattern" in schema:
        found.append(f"pattern `{schema['pattern']}`")
    if "items" in schema and (inner := limits_of(schema["items"])):
        found.append(f"each {inner}")
    return ", ".join(found)
