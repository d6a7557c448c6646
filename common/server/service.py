"""The Flask application of every service: health, metrics, errors and request ids."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from flask import Flask, Response, g, request

from common.errors import BadRequest, NotImplementedHere, Unavailable
from common.logs import REQUESTS as REQUEST_LINES
from common.metrics import READY, REQUEST_SECONDS, REQUESTS, exposition
from common.request_context import CONTEXT, RequestContext
from common.server.admission import REQUEST_ID, Admission
from common.server.body import close_after_reply
from common.server.problems import handle_errors
from common.server.slow_requests import measure
from common.wire import prepare_messages

log = logging.getLogger(REQUEST_LINES)

SLOW_S = 1.0
"""A request that takes longer is logged. Half of the default deadline."""


class Service(Flask):
    """A Flask application whose views and hooks are plain functions, none of them a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """As it is: Flask would inspect each hook of each request, a twentieth of a quick one."""
        return func


def create_service(
    name: str, is_ready: Callable[[], str | None], max_body_bytes: int | None = None
) -> Flask:
    """A Flask app with the routes and hooks of all services.

    `is_ready` returns None if the service can work, else the reason why not. The service registers
    the closing of its parts with `on_close`.
    """
    prepare_messages()
    app = Service(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    app.url_map.strict_slashes = True
    app.extensions["admission"] = admission = Admission(name, app.wsgi_app)
    app.wsgi_app = admission  # type: ignore[method-assign]
    app.extensions["closing"] = ExitStack()
    handle_errors(app)
    _measure(app, name)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> dict[str, str]:
        is_draining = admission.draining.has_begun()
        reason = "it was told to stop" if is_draining else is_ready()
        READY.labels(name).set(not reason)
        if reason:
            raise Unavailable(reason, "draining" if is_draining else "not_ready")
        return {"status": "ready"}

    @app.get("/metrics")
    def metrics() -> Response:
        measure(name, admission, time.monotonic())
        body, content_type = exposition()
        return Response(body, content_type=content_type)

    return app


def on_close(app: Flask, close: Callable[[], None]) -> None:
    """Call `close` at the end of the process, after the last request; newest first."""
    app.extensions["closing"].callback(close)


def _check_head(environ: dict[str, Any]) -> None:
    """Refuse what servers let pass, and HTTP/1.1 does not allow (RFC 9112, 3.2 and 6.1)."""
    host = environ.get("HTTP_HOST", "")  # granian gives "" for none, and "a,b" for two
    if "," in host or (not host and environ["SERVER_PROTOCOL"] != "HTTP/1.0"):
        raise BadRequest("a request has one header Host")
    coding = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if coding.strip().lower() != "chunked":
        close_after_reply()
        raise NotImplementedHere("a body comes as it is, or in chunks: no other coding is read")


def _measure(app: Flask, name: str) -> None:
    """Work in the context of a request's id, and count and time it by its route."""

    count, seconds = lru_cache(256)(REQUESTS.labels), lru_cache(256)(REQUEST_SECONDS.labels)

    @app.before_request
    def begin() -> None:
        environ = request.environ
        g.since = time.monotonic()
        g.request_id = request_id = environ[REQUEST_ID]
        CONTEXT.set(RequestContext(request_id))
        _check_head(environ)

    @app.after_request
    def end(response: Response) -> Response:
        rule = request.url_rule
        route = rule.rule if rule else "unknown"
        took_s = time.monotonic() - g.since
        count(name, route, response.status_code).inc()
        seconds(name, route).observe(took_s)
        level = logging.DEBUG
        failed = response.status_code >= 500 and route != "/ready"  # that is asked until it is so
        if took_s > SLOW_S or failed:
            level = logging.INFO
        if log.isEnabledFor(level):
            _tell(level, name, route, response.status_code, took_s)
        return response


def _tell(level: int, name: str, route: str, status: int, took_s: float) -> None:
    """Log a line about a request, without the request's content."""
    fields = {
        "service": name,
        "method": request.method,
        "route": route,
        "status": status,
        "took_ms": round(1000 * took_s, 1),
        "request_id": g.request_id,
    }
    log.log(level, "answered", extra={"fields": fields})
