"""HTTP and WebSocket on one port, with aiohttp; also what every service tells about itself."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from common.digest import LARGE_BYTES
from common.errors import (
    BadRequest,
    Overloaded,
    Problem,
    ServiceError,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
    problem_headers,
)
from common.metrics import DRAINING, IN_FLIGHT, IN_FLIGHT_BYTES, READY, exposition
from common.server.drain import Draining
from gateway.access import Access, Caller
from gateway.answering import SERVICE, Answering, error_reply
from gateway.post import read_post, write_reply
from gateway.room import enter_all
from gateway.websocket import WebSockets
from middle.client import MiddleClient

MAX_WAITING = 1024
"""HTTP requests at a time, almost all of which wait, unread. clip-client sends 100 at once."""
BODY_S = 30.0
"""The time for a body. Meanwhile it takes room from others."""
POST = "/post"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """The routes of one event loop."""

    def __init__(
        self,
        answering: Answering,
        sockets: WebSockets,
        access: Access,
        middle: MiddleClient,
        max_message_bytes: int,
    ) -> None:
        self._answering = answering
        self._sockets = sockets
        self._access = access
        self._middle = middle
        self._max_message_bytes = max_message_bytes
        self._waiting = 0
        self.draining = Draining()

    def app(self, *, http: bool, websocket: bool) -> web.Application:
        """The application with the routes of the protocols that are on."""
        app = web.Application(client_max_size=self._max_message_bytes, middlewares=[errors])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._guarded_metrics)
        if http:
            app.router.add_post(POST, self._post)
        if websocket:
            app.router.add_get("/", self._websocket)
        app.router.add_get("/dry_run", self._dry_run)
        return app

    def metrics_app(self) -> web.Application:
        """An application with the metrics alone."""
        app = web.Application(middlewares=[errors])
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _post(self, request: web.Request) -> web.Response:
        caller = self._access.check_http(request.headers, request.remote)
        if self._waiting >= MAX_WAITING:
            raise Overloaded("too many requests at once: try again in a second")
        if set(request.headers.getall("Content-Encoding", ())) - {"identity"}:
            raise UnsupportedMedia("send the body without a Content-Encoding")
        size = self._max_message_bytes if request.content_length is None else request.content_length
        if size > self._max_message_bytes:
            raise self._too_large()
        self._waiting += 1
        try:
            await self._access.turn(caller)
            leave = await enter_all((self._answering.bytes, size))
            try:
                return await self._answer(await self._body(request), caller)
            finally:
                leave()
        finally:
            self._waiting -= 1

    async def _answer(self, body: bytes, caller: Caller) -> web.Response:
        if len(body) > LARGE_BYTES:
            message = await asyncio.to_thread(read_post, body)
        else:
            message = read_post(body)
        leave = await self._answering.enter(message)
        try:
            reply, status = await self._answering.answer(message, "http", caller)
        finally:
            leave()
        # clip-client looks for an error in the reply's header; of statuses it knows 503
        return _json(write_reply(reply), 503 if status == 503 else 200)

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(BODY_S):
                return await request.read()
        except TimeoutError:
            raise BadRequest("the body took too long") from None
        except web.HTTPRequestEntityTooLarge:
            raise self._too_large() from None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over the limit: {self._max_message_bytes} bytes")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        caller = self._access.check_http(request.headers, request.remote)
        return await self._sockets.serve(request, caller, self._access.turn)

    async def _dry_run(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._sockets.dry_run(request)
        return web.json_response({"code": 0})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _request: web.Request) -> web.Response:
        READY.labels(SERVICE).set(0)
        if self.draining.has_begun():
            raise Unavailable("it was told to stop", "draining")
        try:
            await self._middle.ready()
        except ServiceError as error:
            raise Unavailable(error.detail, "not_ready") from None
        READY.labels(SERVICE).set(1)
        return web.json_response({"status": "ready"})

    async def _guarded_metrics(self, request: web.Request) -> web.Response:
        self._access.check_http(request.headers, request.remote, "admin")
        return await self._metrics(request)

    async def _metrics(self, _request: web.Request) -> web.Response:
        IN_FLIGHT.labels(SERVICE).set(self._answering.requests.taken)
        IN_FLIGHT_BYTES.labels(SERVICE).set(self._answering.bytes.taken)
        DRAINING.labels(SERVICE).set(self.draining.has_begun())
        body, content_type = exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer each error: in the client's own form for POST, elsewhere as a problem."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = error.reason.lower().replace(" ", "_")
        failure = ServiceError(error.reason, code, error.status)
    except ServiceError as error:
        failure = error
    problem = Problem.of(failure)
    headers = problem_headers(problem, failure)
    if request.path != POST:
        return web.Response(
            body=msgspec.json.encode(problem), status=problem.status, headers=headers
        )
    headers.pop("Content-Type")
    response = _json(write_reply(error_reply(problem)), problem.status)
    response.headers.update(headers)
    return response


def _json(body: bytes, status: int) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
