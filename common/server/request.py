"""What a request says of itself: its deadline, its digest, whether its caller is still there."""

import select

from flask import Flask, Request, Response, current_app, request

from common.deadline import DEADLINE_HEADER, deadline_in
from common.digest import DIGEST, WANTED, content_digest
from common.errors import DeadlineExceeded, InvalidResponse
from common.metrics import DROPPED


def deadline_of(given: Request, most_s: float) -> float:
    """When the answer must be there, on time.monotonic(); the time runs from now.

    Raises BadRequest, and DeadlineExceeded when the caller has no time left.
    """
    try:
        return deadline_in(given.headers.get(DEADLINE_HEADER), most_s)
    except DeadlineExceeded:
        DROPPED.labels(current_app.name, "expired").inc()
        raise


def is_gone(given: Request) -> bool:
    """Whether the caller has closed the connection, or said that nothing more will come on it.

    waitress and gunicorn tell; under granian nobody knows.
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
    """Whether a request says `Cache-Control: no-cache`."""
    return "Cache-Control" in given.headers and bool(given.cache_control.no_cache)


def check_digests(app: Flask) -> None:
    """Refuse bodies that are not what their digest says, and add a digest to replies."""

    @app.before_request
    def check() -> None:
        given = request.headers.get(DIGEST)
        if given is not None and given != content_digest(request.get_data()):
            raise InvalidResponse("what was asked was changed on the way")

    @app.after_request
    def add(response: Response) -> Response:
        if WANTED in request.headers and not response.is_streamed:
            response.headers[DIGEST] = content_digest(response.get_data())
        return response
