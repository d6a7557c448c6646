"""A span of each request of a Flask application."""

from flask import Flask, Response, g, request

from common.tracing import Tracer


def trace(app: Flask, endpoint: str) -> None:
    """Send a span of each request of an app to a collector; call it after the fork."""
    tracer = Tracer(app.name, endpoint)
    app.extensions["closing"].callback(tracer.close)

    @app.before_request
    def begin() -> None:
        route = request.url_rule.rule if request.url_rule else "unknown"
        headers = {name.lower(): value for name, value in request.headers}
        g.span = tracer.begin(f"{request.method} {route}", headers)

    @app.after_request
    def end(response: Response) -> Response:
        tracer.end(g.span, response.status_code, g.request_id, g.get("took_ms", {}))
        return response
