"""Admission: a worker takes a limited number of requests and bytes, and refuses more at once."""

import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from werkzeug.wsgi import ClosingIterator

from common.errors import Overloaded, Problem, problem_headers
from common.metrics import DROPPED, REQUESTS
from common.request_context import REQUEST_ID_HEADER, valid_id
from common.server.body import Chunks, CountedBody, close_after_reply, discard
from common.server.body_budget import BodyBudget
from common.server.drain import Draining
from common.wire import DRAINING_HEADER

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]

ABOUT_ITSELF = ("/healthz", "/ready", "/metrics")
"""Routes that are answered at any load."""
REQUEST_ID = "clip_search.request_id"
UNDERWAY = "clip_search.underway"
"""The keys of the request id and of its `Underway` in a WSGI environment."""


@dataclass(eq=False, slots=True)
class Underway:
    """A request that is under way."""

    thread: int
    since: float
    """The start, on time.monotonic()."""
    request_id: str
    deadline: float = -math.inf
    """Until when it may take, on time.monotonic(), if that is longer than other requests."""


class Admission:
    """WSGI middleware that counts requests until their replies are closed."""

    def __init__(
        self, service: str, app: Application, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = sys.maxsize
        self.bodies = BodyBudget()
        self.draining = Draining()
        self.last_end = clock()
        """The end of the last request, on `clock`."""
        self._service = service
        self._app = app
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._underway: dict[int, Underway] = {}
        self._body_bytes: dict[int, int] = {}
        """The bytes of bodies that are counted in `bodies`."""

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Answer a request, or refuse it."""
        environ[REQUEST_ID] = request_id = valid_id(environ.get("HTTP_X_REQUEST_ID", ""))
        start = partial(self._start, start_response, request_id)
        if environ["PATH_INFO"] in ABOUT_ITSELF:
            return self._app(environ, start)
        body_bytes = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            number = self._enter(request_id, body_bytes)
        except Overloaded as error:
            return self._refuse(environ, start, error)
        environ[UNDERWAY] = self._underway[number]
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = Chunks(environ["wsgi.input"], partial(self._hold, number))
        elif body_bytes:
            environ["wsgi.input"] = CountedBody(environ["wsgi.input"], body_bytes)
        try:
            reply = self._app(environ, start)
        except BaseException:
            self._leave(number)
            raise
        return ClosingIterator(reply, partial(self._leave, number))

    def count(self) -> int:
        """The number of requests under way."""
        return len(self._underway)

    def by_age(self) -> list[Underway]:
        """The requests under way, oldest first."""
        return sorted(self._underway.copy().values(), key=lambda request: request.since)

    def _enter(self, request_id: str, body_bytes: int) -> int:
        """Admit a request and return its number; raises Overloaded if a limit is reached."""
        with self._lock:
            if len(self._underway) >= self.limit:
                raise Overloaded("too many requests at once: try again in a second")
            self.bodies.change(0, body_bytes)
            number = next(self._numbers)
            self._underway[number] = Underway(threading.get_ident(), self._clock(), request_id)
            self._body_bytes[number] = body_bytes
            return number

    def _hold(self, number: int, more_bytes: int) -> None:
        """Count bytes of a chunked body that were read; raises Overloaded."""
        before = self._body_bytes[number]
        try:
            self.bodies.change(before, before + more_bytes)
        except Overloaded:
            DROPPED.labels(self._service, "overloaded").inc()
            raise
        self._body_bytes[number] += more_bytes

    def _leave(self, number: int) -> None:
        self.last_end = self._clock()
        self._underway.pop(number, None)
        self.bodies.change(self._body_bytes.pop(number, 0), 0)

    def _start(
        self, start_response: Start, request_id: str, status: str, headers: list[Any], *error: Any
    ) -> Any:
        """Start the reply, with the headers that all replies have."""
        headers = [*headers, (REQUEST_ID_HEADER, request_id)]
        if self.draining.has_begun():
            headers.append((DRAINING_HEADER, "1"))
            close_after_reply()
        return start_response(status, headers, *error)

    def _refuse(self, environ: Environ, start: Start, error: Overloaded) -> list[bytes]:
        DROPPED.labels(self._service, "overloaded").inc()
        REQUESTS.labels(self._service, "unknown", 503).inc()
        discard(environ)
        problem = Problem.of(error)
        problem.request_id = environ[REQUEST_ID]
        body = msgspec.json.encode(problem)
        headers = problem_headers(problem, error) | {"Content-Length": str(len(body))}
        start("503 Service Unavailable", list(headers.items()))
        return [body]
