"""The OpenAPI document of the public API."""

from collections.abc import Mapping
from typing import Any

from front.auth import ALIVE, PURGE, scope_of
from front.openapi.errors import error_responses
from front.openapi.operations import TAGS, operations
from front.openapi.parts import Operation
from front.openapi.schemas import schemas

VERSION = "0.1.0"
DESCRIPTION = """Search a collection of images by text or by image.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Each operation lists its own.
Every reply has the header `X-Request-Id`. The server's log has the same id.

A server with keys wants yours in each request: `Authorization: Bearer KEY`."""


def document(has_keys: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document; with keys, each operation names the scope that it needs."""
    messages = schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations(messages):
        path = paths.setdefault(operation.path, {})
        path[operation.method] = _described(operation, has_keys)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clip-search",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": what} for name, what in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": messages,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "From front/keys.py"}
            },
        },
    }


def _described(operation: Operation, has_keys: bool) -> Mapping[str, Any]:
    """An operation as OpenAPI has it."""
    scope = scope_of(operation.path, operation.method.upper())
    errors = list(operation.errors)
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        described["requestBody"] = {"required": True, "content": operation.body}
    if operation.path != ALIVE:
        errors += ["rate_limited"] if has_keys else ["rate_limited", "misdirected"]
    if scope and (has_keys or operation.path == PURGE):
        described["security"] = [{"key": [scope]}]
        errors += ["unauthorized", "forbidden"]
    described["responses"] = {**operation.replies, **error_responses(errors)}
    return described
