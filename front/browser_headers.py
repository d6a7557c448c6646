"""Reply headers for browsers: what a page may load, which sites may read a reply, a file's name."""

import re
import unicodedata
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.http import dump_options_header

from common.config import Front

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
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, X-Request-Id",
    "Access-Control-Max-Age": "600",
}
EXPOSED = "Age, Retry-After, X-Cache, X-Request-Id"
A_YEAR_S = 31_536_000


def add_headers(app: Flask, front: Front) -> None:
    """Add security headers to every reply, and CORS headers to replies for listed origins."""
    always = dict(HEADERS)
    if front.tls_cert:
        always["Strict-Transport-Security"] = f"max-age={A_YEAR_S}"

    @app.before_request
    def preflight() -> Response | None:
        """Answer the CORS preflight request of a listed origin."""
        is_asked = "Access-Control-Request-Method" in request.headers
        if is_asked and request.method == "OPTIONS" and _origin(front):
            return Response(status=204, headers=ALLOWED)
        return None

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.update(always)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        if front.keys_file:
            response.vary.add("Authorization")
        if front.cors_origins:
            response.vary.add("Origin")
        if origin := _origin(front):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response


def disposition(name: str) -> str:
    """The header Content-Disposition for the name of a file (RFC 6266).

    `filename` has the ASCII of the name, with `_` for control characters, which no header can hold.
    If that is not the whole name, `filename*` has the name, percent-encoded.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[\x00-\x1f\x7f]", "_", ascii_name)
    encoded = None if plain == name else f"UTF-8''{quote(name, safe='')}"
    return dump_options_header("inline", {"filename": plain, "filename*": encoded})


def _origin(front: Front) -> str | None:
    """The origin of the page that asks, if Front.cors-origins lists it."""
    origin = request.headers.get("Origin")
    return origin if origin in front.cors_origins else None
