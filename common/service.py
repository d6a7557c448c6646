"""The Flask application that every service starts from: health, metrics, errors, request ids."""

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache

from flask import Flask, Request, Response, g, request

from common.errors import Unavailable, handle_errors
from common.metrics import REQUEST_SECONDS, REQUESTS, exposition

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Drain:
    """Whether this process is on its way out, and how many requests it still answers."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.in_flight = 0
        self._lock = threading.Lock()

    def add(self, change: int) -> None:
        """Count requests in or out."""
        with self._lock:
            self.in_flight += change


def create_service(
    name: str, is_ready: Callable[[], str | None], max_body_bytes: int | None = None
) -> Flask:
    """A Flask app with what all services share.

    `is_ready` returns None when the service can do its work, else the reason why it cannot. What
    the service opens and must close is given to `on_close`.
    """
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    app.url_map.strict_slashes = True
    app.extensions["drain"] = drain = Drain()
    app.extensions["closing"] = ExitStack()
    handle_errors(app)
    _measure(app, name, drain)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> dict[str, str]:
        reason = "draining" if drain.started.is_set() else is_ready()
        if reason:
            raise Unavailable(reason, "not_ready")
        return {"status": "ready"}

    @app.get("/metrics")
    def metrics() -> Response:
        body, content_type = exposition()
        return Response(body, content_type=content_type)

    return app


def on_close(app: Flask, close: Callable[[], None]) -> None:
    """Have `close` called when the process ends, after the last request; the newest first."""
    app.extensions["closing"].callback(close)


def wants_fresh(given: Request) -> bool:
    """Whether a request says `Cache-Control: no-cache`."""
    return "Cache-Control" in given.headers and bool(given.cache_control.no_cache)


def _measure(app: Flask, name: str, drain: Drain) -> None:
    """Give each request an id, and count and time it by its route."""

    count, seconds = lru_cache(256)(REQUESTS.labels), lru_cache(256)(REQUEST_SECONDS.labels)

    @app.before_request
    def begin() -> None:
        drain.add(1)
        g.started = time.perf_counter()
        given = request.headers.get("X-Request-Id")
        is_good = given and REQUEST_ID.fullmatch(given)
        g.request_id = given if is_good else f"{random.getrandbits(128):032x}"

    @app.after_request
    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        count(name, route, response.status_code).inc()
        seconds(name, route).observe(time.perf_counter() - g.started)
        response.headers["X-Request-Id"] = g.request_id
        return response

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        drain.add(-1)
