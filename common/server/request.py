"""Properties of a request: its deadline, its digest, its client's connection, its caching."""

import select

from flask import Flask, Request, Response, current_app, g, request

from common.config import Middle
from common.deadline import DEADLINE_HEADER, deadline_in
from common.digest import DIGEST, WANTED, content_digest
from common.errors import DeadlineExceeded, InvalidResponse
from common.metrics import DROPPED
from common.server.admission import UNDERWAY


def deadline_of(given: Request, max_s: float) -> float:
    """The deadline on time.monotonic() of a request or of its next part, at most `max_s` from now.

    Raises BadRequest, and DeadlineExceeded if the caller has no time left.
    """
    try:
        return deadline_in(given.headers.get(DEADLINE_HEADER), max_s, g.since)
    except DeadlineExceeded:
        DROPPED.labels(current_app.name, "expired").inc()
        raise


def long_deadline_of(given: Request, max_s: float) -> float:
    """As `deadline_of`, for a request that may take longer than a search."""
    deadline = deadline_of(given, max_s)
    may_take_until(given, deadline)
    return deadline


def may_take_until(given: Request, deadline: float) -> None:
    """Say that a request is at work until then, on time.monotonic(), and not stuck."""
    given.environ[UNDERWAY].deadline = deadline


def embed_deadline_of(given: Request, middle: Middle) -> float:
    """As `deadline_of`, for a request that only embeds; with the header it may take longer."""
    if DEADLINE_HEADER in given.headers:
        return long_deadline_of(given, middle.embed_deadline_ms / 1000)
    return deadline_of(given, middle.deadline_ms / 1000)


def is_gone(given: Request) -> bool:
    """Whether the client has closed the connection, or at least its sending side.

    Known under waitress and gunicorn; False under granian.
    """
    if told := given.environ.get("waitress.client_disconnected"):
        return bool(told())
    connection = given.environ.get("gunicorn.socket")
    if connection is None or not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def bypasses_cache(given: Request) -> bool:
    """Whether a request has `Cache-Control: no-cache`."""
    return "Cache-Control" in given.headers and bool(given.cache_control.no_cache)


def take_body() -> bytes:
    """The body of this thread's request, which nothing but the caller holds from now on."""
    body: bytes | None = g.pop("body", None)
    return request.get_data(cache=False) if body is None else body


def check_digests(app: Flask) -> None:
    """Refuse a body that does not match its digest; add a digest to a reply on request."""

    @app.before_request
    def check() -> None:
        given = request.headers.get(DIGEST)
        if given is not None:
            g.body = take_body()
            if given != content_digest(g.body):
                raise InvalidResponse("what was asked was changed on the way")

    @app.after_request
    def add(response: Response) -> Response:
        if WANTED in request.headers and not response.is_streamed:
            response.headers[DIGEST] = content_digest(response.get_data())
        return response
