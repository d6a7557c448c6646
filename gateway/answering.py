"""Answering a request: its room, its endpoint, its status, its metrics, its line in the log."""

import logging
import time

from common.errors import BadRequest, Forbidden, Problem, ServiceError
from common.logs import REQUESTS as REQUEST_LINES
from common.metrics import REQUEST_SECONDS, REQUESTS
from common.request_context import CONTEXT, RequestContext, valid_id
from gateway.access import Caller
from gateway.documents import has_image
from gateway.endpoints import Endpoints, endpoint_of
from gateway.room import Leave, Room, enter_all
from gateway.wire import ERROR, SUCCESS, DataRequest, Message

log = logging.getLogger(REQUEST_LINES)

SERVICE = "gateway"
MODEL = "clip"
"""What the second route of a reply is called; the client's `profile()` shows its time."""
ROUTE_MS = 1
"""A route takes at least this: `profile()` divides by it."""
SLOW_S = 1.0
IMAGE_ROOM = 4
"""An image takes so much room of `max-documents`. Middle answers all that is in hand within
`embed-deadline-ms`: 128 texts, or the 32 images that this leaves, also on two busy cores."""
MAX_BYTES_IN_HAND = 256 * 2**20
"""Bytes of all requests in hand. Beside them, each stream has one message that was read ahead."""


class Answering:
    """Answers requests of all protocols, within limits over all of them together."""

    def __init__(self, endpoints: Endpoints, max_documents: int, max_requests: int) -> None:
        self._endpoints = endpoints
        self.bytes = Room(MAX_BYTES_IN_HAND)
        self.requests = Room(max_requests)
        self._documents = Room(max_documents)

    async def enter(self, request: Message, size_bytes: int = 0) -> Leave:
        """Wait for room for a request; returns a function that gives it back."""
        documents = sum(map(room_of, request.data.docs.docs))
        return await enter_all(
            (self.bytes, size_bytes), (self.requests, 1), (self._documents, documents)
        )

    async def answer(self, request: Message, protocol: str, caller: Caller) -> tuple[Message, int]:
        """The reply to a request, which is the request itself, changed; and its HTTP status.

        An error is in the header of the reply.
        """
        started, since = time.time(), time.monotonic()
        request_id = valid_id(request.header.request_id)
        CONTEXT.set(RequestContext(request_id))
        route, status = "unknown", 200
        try:
            endpoint = endpoint_of(request.header.exec_endpoint)
            route = endpoint.name
            if endpoint.name == "/index" and not caller.may_write:
                raise Forbidden("this key is not good for write")
            if request.data.WhichOneof("documents") == "docs_bytes":
                raise BadRequest("docs_bytes are not read: send docs")
            warnings = await self._endpoints.answer(endpoint, request)
            if warnings:
                request.parameters["warnings"] = warnings
            request.header.status.code = SUCCESS
        except Exception as error:  # the outcome of this request
            if not isinstance(error, ServiceError):
                log.exception("unforeseen error")
            problem = Problem.of(error)
            status = problem.status
            set_error(request, problem)
        took_s = time.monotonic() - since
        _add_routes(request, started, took_s)
        _count(protocol, route, status, took_s, request_id)
        return request, status


def room_of(document: Message) -> int:
    """How much of `max-documents` a document and its matches take."""
    own = IMAGE_ROOM if has_image(document) else 1
    return own + sum(map(room_of, document.matches))


def set_error(request: Message, problem: Problem) -> None:
    """Make a request the reply that tells of a problem; its documents are left out."""
    request.ClearField("data")
    status = request.header.status
    status.code, status.description = ERROR, problem.detail
    status.exception.name, status.exception.executor = problem.code, MODEL
    status.exception.args[:] = [problem.detail]


def error_reply(problem: Problem) -> Message:
    """The reply to a message that is refused before it is read."""
    reply = DataRequest()
    set_error(reply, problem)
    return reply


def _add_routes(request: Message, started: float, took_s: float) -> None:
    """Say how long the gateway and the model took; here these are the same."""
    start_ms = int(1000 * started)
    end_ms = start_ms + max(ROUTE_MS, int(1000 * took_s))
    del request.routes[:]
    for name in (SERVICE, MODEL):
        route = request.routes.add(executor=name)
        route.start_time.FromMilliseconds(start_ms)
        route.end_time.FromMilliseconds(end_ms)
        route.status.CopyFrom(request.header.status)


def _count(protocol: str, route: str, status: int, took_s: float, request_id: str) -> None:
    """Count and time a request; a slow one or one that failed here gets a line in the log."""
    REQUESTS.labels(SERVICE, f"{protocol} {route}", status).inc()
    REQUEST_SECONDS.labels(SERVICE, f"{protocol} {route}").observe(took_s)
    level = logging.INFO if took_s > SLOW_S or status >= 500 else logging.DEBUG
    fields = {
        "service": SERVICE,
        "method": protocol,
        "route": route,
        "status": status,
        "took_ms": round(1000 * took_s, 1),
        "request_id": request_id,
    }
    log.log(level, "answered", extra={"fields": fields})
