"""Reply headers for browsers: what a page may load, which sites may read a reply, a file's name."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.http import dump_options_header

from common.config import Front

POLICY_HEADER = "Content-Security-Policy"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ALLOWED = {
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, X-Request-Id",
    "Access-Control-Max-Age": "600",
}
EXPOSED = "Age, Retry-After, X-Cache, X-Request-Id"
A_YEAR_S = 31_536_000


def add_headers(app: Flask, front: Front) -> None:
    """Add security headers to every reply, and CORS headers to replies for listed origins."""
    always = list(HEADERS.items())
    if front.tls_cert:
        always.append(("Strict-Transport-Security", f"max-age={A_YEAR_S}"))
    _add_to_all(app, always)
    if front.cors_origins:
        _add_cors(app, front.cors_origins)
    if front.keys_file:

        @app.after_request
        def vary(response: Response) -> Response:
            response.vary.add("Authorization")
            return response


def _add_cors(app: Flask, origins: Sequence[str]) -> None:
    def origin() -> str | None:
        """The origin of the page that asks, if it is listed."""
        given = request.headers.get("Origin")
        return given if given in origins else None

    @app.before_request
    def preflight() -> Response | None:
        """Answer the CORS preflight request of a listed origin, for a route that exists."""
        is_asked = "Access-Control-Request-Method" in request.headers
        if is_asked and request.method == "OPTIONS" and request.url_rule and origin():
            response = Response(status=204, headers=ALLOWED)
            methods = app.make_default_options_response().headers["Allow"]
            response.headers["Access-Control-Allow-Methods"] = methods
            return response
        return None

    @app.after_request
    def allow(response: Response) -> Response:
        response.vary.add("Origin")
        if listed := origin():
            response.headers["Access-Control-Allow-Origin"] = listed
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response


def _add_to_all(app: Flask, always: list[tuple[str, str]]) -> None:
    """Add headers below Flask: to refusals for overload, too, and at a third of the cost."""
    answer = app.wsgi_app

    def answer_with_headers(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            has_policy = any(name == POLICY_HEADER for name, _ in headers)
            policy = [] if has_policy else [(POLICY_HEADER, POLICY)]
            return start_response(status, [*headers, *always, *policy], *error)

        return answer(environ, start)

    app.wsgi_app = answer_with_headers  # type: ignore[method-assign]


def disposition(name: str) -> str:
    """The header Content-Disposition for the name of a file (RFC 6266).

    `filename` has the ASCII of the name, with `_` for control characters, which no header can hold.
    If that is not the whole name, `filename*` has the name, percent-encoded.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[\x00-\x1f\x7f]", "_", ascii_name)
    encoded = None if plain == name else f"UTF-8''{quote(name, safe='')}"
    return dump_options_header("inline", {"filename": plain, "filename*": encoded})
