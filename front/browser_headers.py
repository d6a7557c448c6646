"""Reply headers for browsers: what a page may load, and which sites may read a reply (CORS)."""

from flask import Flask, Response, request

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
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
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


def _origin(front: Front) -> str | None:
    """The origin of the page that asks, if Front.cors-origins lists it."""
    origin = request.headers.get("Origin")
    return origin if origin in front.cors_origins else None
