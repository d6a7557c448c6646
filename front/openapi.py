"""The description of the public API, made from the types that it is served with."""

from typing import Any

import msgspec

from common.errors import Problem
from front.auth import PURGE, scope_of
from front.query import SearchQuery
from middle.messages import (
    Answer,
    ClassifyAnswer,
    ClassifyQuery,
    EmbedAnswer,
    EmbedQuery,
    Image,
    Info,
)

VERSION = "0.1.0"
JSON = "application/json"
URL_PARAMETERS = ("text", "image_url", "id", "k", "model", "dedup", "min_score", "require_full")
ERRORS = {
    "400": "The request is wrong; `detail` says how",
    "401": "No key, or none that is valid",
    "403": "The key is not good for this, or the server takes no keys",
    "404": "No image has this id",
    "413": "Too large: the body, or the image's pixels",
    "415": "Not a content type, or not an image, that we read",
    "422": "The image is broken",
    "429": "Too many requests; try again after `Retry-After` seconds",
    "503": "Too busy, or too few shards answered in time; try again after `Retry-After` seconds",
}
FROM_CLIENT = ("400", "413", "415", "422", "503")
FRESH = {
    "name": "Cache-Control",
    "in": "header",
    "description": "`no-cache`: by no kept answer or embedding",
    "schema": {"type": "string"},
}
PATIENCE = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "description": "Wait no longer for the answer than so many milliseconds",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
}
HEADERS = {
    "X-Cache": {
        "description": "How the answer came about; join: together with an equal query",
        "schema": {"enum": ["hit", "miss", "join", "bypass"]},
    },
    "Age": {"description": "Seconds since a hit was made", "schema": {"type": "integer"}},
}
FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
CLASSIFY = """An image that cannot be classified has a `problem` in its place, the others have their
`classes`. When none can be, the reply is an error, that of the image with the highest status.
Without `labels`, `template` and `model` the image model's own classifier answers, if it has one;
else the classes are nearest by text (zero-shot). In a form, `image` and `label` may be repeated;
more than 900 labels go into JSON."""
TYPES = (
    SearchQuery,
    Answer,
    EmbedQuery,
    EmbedAnswer,
    ClassifyQuery,
    ClassifyAnswer,
    Image,
    Info,
    Problem,
)


def document(has_keys: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document; with keys, each operation names the scope that it needs."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template="#/components/schemas/{name}")
    paths = {
        **_search_paths(schemas["SearchQuery"]["properties"]),
        "/v1/classify": {"post": _classify(schemas["ClassifyQuery"]["properties"])},
        **_other_paths(),
    }
    for path, operations in paths.items():
        for operation in operations.values():
            operation["responses"] |= _errors("429")
            if has_keys or path == PURGE:
                operation["security"] = [{"key": [scope_of(path)]}]
                operation["responses"] |= _errors("401", "403")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clip-search",
            "version": VERSION,
            "description": "Search a collection of images by text or by image.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "From front/keys.py"}
            },
        },
    }


def _search_paths(fields: dict[str, Any]) -> dict[str, Any]:
    hits = {**_reply("The best hits", "Answer"), "headers": HEADERS}
    search = {"200": hits, **_errors(*FROM_CLIENT, "404")}
    return {
        "/v1/search": {
            "get": {
                "operationId": "searchByAddress",
                "summary": "Search by text or by id",
                "parameters": [
                    *(
                        {"name": name, "in": "query", "schema": fields[name]}
                        for name in URL_PARAMETERS
                    ),
                    FRESH,
                    PATIENCE,
                ],
                # before it gets to us, so without a problem
                "responses": {**search, "414": {"description": "A long text: send it by POST"}},
            },
            "post": {
                "operationId": "search",
                "summary": "Search by text, image, id or embedding",
                "parameters": [FRESH, PATIENCE],
                "requestBody": {
                    "required": True,
                    "content": {
                        JSON: {"schema": _ref("SearchQuery")},
                        "multipart/form-data": {"schema": _form(fields)},
                    },
                },
                "responses": search,
            },
        }
    }


def _classify(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {name: fields[name] for name in ("template", "top", "model")}
    form = {
        "type": "object",
        "properties": {
            "image": {"type": "array", "items": FILE, "maxItems": fields["images"]["maxItems"]},
            "label": {"type": "array", "items": {"type": "string"}},
            **kept,
        },
        "required": ["image"],
        "additionalProperties": False,
    }
    return {
        "operationId": "classify",
        "summary": "Classify images, by labels that are given or into ImageNet's classes",
        "description": CLASSIFY,
        "parameters": [FRESH, PATIENCE],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref("ClassifyQuery")},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {"200": _reply("Classes", "ClassifyAnswer"), **_errors(*FROM_CLIENT)},
    }


def _other_paths() -> dict[str, Any]:
    return {
        "/v1/embed": {
            "post": {
                "operationId": "embed",
                "summary": "Embed texts or images",
                "parameters": [FRESH, PATIENCE],
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": _ref("EmbedQuery")}},
                },
                "responses": {
                    "200": _reply("Unit vectors", "EmbedAnswer"),
                    **_errors(*FROM_CLIENT),
                },
            }
        },
        "/v1/cache": {
            "delete": {
                "operationId": "purge",
                "summary": "Empty the prediction cache",
                "responses": {"204": {"description": "Done"}, **_errors("503")},
            }
        },
        "/v1/images/{id}": {"get": _image("image", "The file of an indexed image", "image/*")},
        "/v1/images/{id}/thumbnail": {
            "get": _image("thumbnail", "A small JPEG of an indexed image", "image/jpeg")
        },
        "/v1/info": {
            "get": {
                "operationId": "info",
                "summary": "What can be searched",
                "responses": {"200": _reply("The collection", "Info"), **_errors("503")},
            }
        },
    }


def _form(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {name: fields[name] for name in URL_PARAMETERS}
    return {"type": "object", "properties": {**kept, "image": FILE}, "additionalProperties": False}


def _image(name: str, summary: str, content_type: str) -> dict[str, Any]:
    identifier = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": identifier}],
        "responses": {
            "200": {"description": summary, "content": {content_type: {}}},
            "404": _problem("No image has this id, or its file is gone"),
            **_errors("400", "503"),
        },
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _reply(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": _ref(name)}}}


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {"description": description, "content": content}


def _errors(*statuses: str) -> dict[str, Any]:
    return {status: _problem(ERRORS[status]) for status in statuses}
