"""The pages that show the API's description, Swagger UI and ReDoc, from files on this machine."""

import importlib.util
from pathlib import Path

import msgspec
from flask import Blueprint, Response, send_from_directory

from front.browser_headers import POLICY_HEADER
from front.openapi.document import document

# The two bring their scripts inside pages of their own making: they need more than the page may.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SWAGGER = """<!doctype html><html lang="en"><meta charset="utf-8"><title>clip-search API</title>
<link rel="icon" href="/static/favicon.svg">
<link rel="stylesheet" href="/docs/swagger/css/swagger-ui.css"><div id="swagger"></div>
<script src="/docs/swagger/js/swagger-ui-bundle.js"></script>
<script src="/static/swagger.js"></script></html>"""
REDOC = """<!doctype html><html lang="en"><meta charset="utf-8"><title>clip-search API</title>
<link rel="icon" href="/static/favicon.svg">
<meta name="viewport" content="width=device-width"><style>body { margin: 0 }</style>
<redoc spec-url="/openapi.json"></redoc>
<script src="/docs/redoc/js/redoc.standalone.js"></script></html>"""


def create_docs(has_keys: bool) -> Blueprint:
    """The routes of the description and of its two pages; with keys it names their scopes."""
    docs = Blueprint("docs", __name__)
    swagger = _assets("flask_openapi3_swagger") / "swagger"
    redoc = _assets("flask_openapi3_redoc") / "redoc"
    description = msgspec.json.encode(document(has_keys))  # jsonify would sort the operations

    @docs.get("/openapi.json")
    def openapi() -> Response:
        return Response(description, content_type="application/json")

    @docs.get("/docs")
    def swagger_page() -> Response:
        return _page(SWAGGER)

    @docs.get("/redoc")
    def redoc_page() -> Response:
        return _page(REDOC)

    @docs.get("/docs/swagger/<path:name>")
    def swagger_asset(name: str) -> Response:
        return send_from_directory(swagger, name, max_age=86400)

    @docs.get("/docs/redoc/<path:name>")
    def redoc_asset(name: str) -> Response:
        return send_from_directory(redoc, name, max_age=86400)

    return docs


def _assets(package: str) -> Path:
    """The folder of a package that is used for the files in it; it is never imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed: see requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "templates"


def _page(text: str) -> Response:
    return Response(text, content_type="text/html", headers={POLICY_HEADER: POLICY})
