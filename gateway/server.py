"""The gateway's event loop: its parts, its ports, and their end."""

import asyncio
import sys

from aiohttp import web

from common.config import Gateway, Loaded
from common.errors import ConfigError
from common.internal_auth import InternalAuth
from common.keys import Keys, check_exposure
from common.server.drain import DRAIN_S, drain_at_sigterm
from common.server.serve import BACKLOG, Serving, announce, bind
from common.tls import server_context, tls_of
from common.uploads import Uploads
from gateway.access import Access
from gateway.answering import Answering
from gateway.embedder import Embedder
from gateway.endpoints import Endpoints
from gateway.grpc_server import MAX_STREAMS, GrpcServer
from gateway.http_server import HttpServer
from gateway.indexing import Indexer
from gateway.retrying import RetryingMiddle
from gateway.websocket import WebSockets
from middle.client import MiddleClient


async def serve(loaded: Loaded) -> None:
    """Serve all protocols until SIGTERM; returns when drained. Raises ConfigError."""
    config, root = loaded.config, loaded.root
    gateway = config.gateway
    if gateway is None:
        raise ConfigError('config: there is no section Gateway: add "Gateway": {}')
    keys = Keys(loaded.path(config.front.keys_file) if config.front.keys_file else None)
    host, _ = gateway.bound
    check_exposure("Gateway", host, keys, gateway.open, ("search",))
    files = gateway.tls_cert, gateway.tls_key, None, gateway.tls_key_password_file
    tls = tls_of("Gateway", root, *files)
    middle = MiddleClient(
        config.middle.addresses, config.middle.deadline_ms, InternalAuth(config.inside, root)
    )
    asked = RetryingMiddle(middle, config.middle.embed_deadline_ms / 1000, gateway.wait_ms / 1000)
    embedder = Embedder(asked, config.front.max_body_bytes)
    can_put = config.log and config.search.server_list
    uploads = Uploads(config, root) if can_put else None
    indexer = Indexer(asked, uploads, asyncio.get_running_loop().time)
    endpoints = Endpoints(asked, embedder, indexer, config.inference, gateway.text_model)
    most_requests = gateway.prefetch or sys.maxsize
    answering = Answering(endpoints, gateway.max_documents, most_requests)
    access = Access(keys, gateway)
    grpc = GrpcServer(answering, access, gateway.max_message_bytes)
    sockets = WebSockets(answering, gateway.max_message_bytes, MAX_STREAMS)
    http = HttpServer(answering, sockets, access, middle, gateway.max_message_bytes)

    if "grpc" in gateway.protocols:
        print(f"grpc {await grpc.start(gateway, tls)}", flush=True)
    listener = bind(Serving(host, gateway.http_port, 0, gateway.max_message_bytes))
    runner = _runner(http, gateway)
    await runner.setup()
    context = server_context(tls) if tls else None
    site = web.SockSite(runner, listener, ssl_context=context, backlog=BACKLOG)
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        loop.call_soon_threadsafe(told.set)

    drain_at_sigterm(http.draining, config.process.drain_wait_s, listener, end)
    await site.start()
    metrics = web.AppRunner(http.metrics_app(), access_log=None, handle_signals=False)
    await metrics.setup()
    if gateway.metrics_port is not None:
        own = Serving(host, gateway.metrics_port, 0, 0)
        await web.SockSite(metrics, bind(own)).start()
    announce(listener.getsockname()[1])
    await told.wait()
    await asyncio.gather(site.stop(), grpc.stop(DRAIN_S), sockets.drain(DRAIN_S))
    await runner.cleanup()  # waits for HTTP requests
    await metrics.cleanup()
    await middle.close()


def _runner(http: HttpServer, gateway: Gateway) -> web.AppRunner:
    protocols = gateway.protocols
    app = http.app(http="http" in protocols, websocket="websocket" in protocols)
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        auto_decompress=False,  # to more than the room that a body takes
        handler_cancellation=True,  # a request whose client is gone leaves its room
        shutdown_timeout=DRAIN_S,
    )
