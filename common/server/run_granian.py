"""Serving with granian: worker processes in Rust, each with threads for the application.

granian makes its own sockets, so the drain cannot have the kernel ignore new connections.
docs/operations.md names the cost.
"""

import mmap
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from granian import Granian
from granian.http import HTTP1Settings

from common.errors import ConfigError
from common.lifeline import at_end_of, end_orphan
from common.server import body, worker_metrics
from common.server.drain import DRAIN_S, POLL_S, Draining, drain_at_sigterm
from common.server.serve import (
    BACKLOG,
    BOOT_ERROR,
    MAX_HEADER_BYTES,
    Serving,
    announce,
    begin,
    bind,
    create_in_worker,
)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOGS: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}
"""Sends granian's records to our own log."""


def serve(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes in each worker until SIGTERM or SIGINT; raises ConfigError."""
    if not hasattr(os, "fork"):
        raise ConfigError("Process.server granian needs a system that can fork")
    if serving.tls and serving.tls.password_file:  # granian crashes on most encrypted keys
        raise ConfigError(
            "Process.server granian takes no tls-key-password-file:"
            " set Process.server to auto, or use a key that is not encrypted"
        )
    multiprocessing.set_start_method("fork", force=True)  # workers share what exists before
    draining, has_failed = Draining(), mmap.mmap(-1, 1)
    lifeline, parents_end = os.pipe()
    is_announced = multiprocessing.Value("b", 0)
    with probe(serving) as probed:
        port = probed.getsockname()[1]
        server = Granian("", **_settings(serving, port))

        def load() -> Application:
            """Create the application of a worker; granian calls this in the worker."""
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(parents_end)
            at_end_of(lifeline, end_orphan)
            worker_metrics.join()
            try:
                app = create_in_worker(create)
            except SystemExit:
                has_failed[0] = 1
                os.kill(os.getppid(), signal.SIGINT)  # the parent stops, and starts no other worker
                raise
            begin(app, serving, draining)
            where = (serving.address, port, is_announced)
            threading.Thread(target=_announce, args=where, daemon=True).start()
            threading.Thread(target=_close_at_end, args=(app,)).start()
            return closable(app, serving.max_body_bytes)

        def start() -> None:
            """Have SIGTERM drain; granian calls this after it has set its own handler."""
            drain_at_sigterm(draining, serving.process.drain_wait_s, None)

        server.on_startup(start)
        server.serve(target_loader=load, wrap_loader=False)
        worker_metrics.forget_all()
    if has_failed[0]:
        sys.exit(BOOT_ERROR)


class Answered:
    """A request for `body.answer`; `is_closed`: the reply closes the connection."""

    is_closed = False

    def force_close(self) -> None:
        """Close the connection with the reply."""
        self.is_closed = True


def closable(app: Application, max_body_bytes: int) -> Application:
    """Add `Connection: close` to the replies after which granian must close the connection.

    Among them are replies to a chunked body or a body over the limit, since these may be unread.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Answered()
        body.answer(request)
        is_long = int(environ.get("CONTENT_LENGTH") or 0) > max_body_bytes
        request.is_closed = is_long or "HTTP_TRANSFER_ENCODING" in environ

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            closing = [("Connection", "close")] if request.is_closed else []
            return start_response(status, [*headers, *closing], *error)

        return app(environ, start)

    return answer


def probe(serving: Serving) -> socket.socket:
    """A socket that reserves a port and never listens; granian's own sockets share the port.

    Raises ConfigError if another process has the port.
    """
    with bind(serving) as alone:
        found = alone.getsockname()
    shared = socket.socket(alone.family)
    # A server that has just ended leaves connections in TIME_WAIT on the port.
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(found)
    return shared


def _settings(serving: Serving, port: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "address": serving.address,
        "port": port,
        "interface": "wsgi",
        "workers": serving.workers,
        "blocking_threads": serving.threads,
        "backlog": BACKLOG,
        "backpressure": serving.connections,
        "http": "1",
        "http1_settings": HTTP1Settings(max_buffer_size=MAX_HEADER_BYTES),
        "websockets": False,
        "log_level": "error",
        "log_dictconfig": LOGS,
        "respawn_failed_workers": True,
        "workers_kill_timeout": int(DRAIN_S),
    }
    if tls := serving.tls:
        settings |= {
            "ssl_cert": tls.cert,
            "ssl_key": tls.key or tls.cert,
            "ssl_ca": tls.ca,
            "ssl_client_verify": bool(tls.ca),
            "ssl_protocol_min": "tls1.2",
        }
    return settings


def _announce(address: str, port: int, is_announced: Any) -> None:
    """Announce once for all workers that the server takes connections; granian has no hook for it.

    Runs in a worker, since a thread of the parent could hold a lock while the parent forks.
    """
    while not is_announced.value:
        try:
            socket.create_connection((address, port)).close()
        except OSError:
            time.sleep(POLL_S)
            continue
        with is_announced.get_lock():
            if not is_announced.value:
                announce(port)
            is_announced.value = 1


def _close_at_end(app: Flask) -> None:
    """Close what the application of this worker has opened, after its last request."""
    threading.main_thread().join()
    if "closing" in app.extensions:
        app.extensions["closing"].close()
