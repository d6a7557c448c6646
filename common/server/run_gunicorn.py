"""Serving with gunicorn: worker processes, each with threads; also with TLS."""

import logging
import os
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from common.lifeline import at_end_of, end_orphan
from common.server import body, worker_metrics
from common.server.drain import DRAIN_S, Draining, drain_at_sigterm
from common.server.serve import (
    BACKLOG,
    Serving,
    announce,
    begin,
    bind,
    create_in_worker,
)
from common.tls import server_context

KEEP_ALIVE_S = 75
MAX_REQUEST_LINE = 8190


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn's parent process, with our settings and hooks."""

    def __init__(self, create: Callable[[], Flask], serving: Serving) -> None:
        self._create = create
        self._serving = serving
        self._listener = bind(serving)
        self._draining = Draining()
        self._lifeline = os.pipe()
        self._app: Flask | None = None
        """The application, in a worker."""
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        serving = self._serving
        settings = {
            "bind": f"fd://{os.dup(self._listener.fileno())}",  # gunicorn closes its copy
            "workers": serving.workers,
            "worker_class": "gthread",
            "threads": serving.threads,
            "worker_connections": serving.connections,
            "backlog": BACKLOG,
            "keepalive": KEEP_ALIVE_S,
            "timeout": serving.start_s,
            "graceful_timeout": int(DRAIN_S),
            "loglevel": "warning",
            "limit_request_line": MAX_REQUEST_LINE,
            "control_socket_disable": True,
            "on_starting": set_up_log,
            "when_ready": self._drain_at_sigterm,
            "post_worker_init": self._announce,
            "pre_request": self._begin_request,
            "worker_exit": self._close_worker,
            "child_exit": lambda _server, worker: worker_metrics.forget_worker(worker.pid),
            "on_exit": worker_metrics.forget_all,
        }
        if tls := serving.tls:
            settings |= {
                "certfile": str(tls.cert),  # turns TLS on; `ssl_context` reads the files
                "do_handshake_on_connect": True,  # with the limit tls.HANDSHAKE_S
                "ssl_context": lambda _settings, _default: server_context(tls),
            }
        for key, value in settings.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        """Create the application of a worker."""
        pipe, parents_end = self._lifeline
        os.close(parents_end)
        at_end_of(pipe, end_orphan)
        self._app = create_in_worker(self._create)
        begin(self._app, self._serving, self._draining)
        return self._app

    def _drain_at_sigterm(self, _server: Any) -> None:
        """Have SIGTERM drain before gunicorn's own handler runs."""
        drain_at_sigterm(self._draining, self._serving.process.drain_wait_s, self._listener)

    def _announce(self, worker: Any) -> None:
        """Announce the port after the first worker has created its app."""
        if worker.age == 1:
            announce(self._listener.getsockname()[1])

    def _begin_request(self, _worker: Any, request: Any) -> None:
        """Close the connection after a chunked body or a body over the limit, and say so."""
        body.answer(request)
        headers = dict(request.headers)
        length = int(headers.get("CONTENT-LENGTH", 0))
        if length > self._serving.max_body_bytes or "TRANSFER-ENCODING" in headers:
            request.force_close()

    def _close_worker(self, _server: Any, _worker: Any) -> None:
        """Close what the application of a worker has opened."""
        if self._app and "closing" in self._app.extensions:
            self._app.extensions["closing"].close()


def serve(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes in each worker until SIGTERM or SIGINT; then ends the process."""
    Server(create, serving).run()


class Discreet(logging.Filter):
    """Removes users' content from gunicorn's log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record. The reason of a failed handshake stays."""
        text = record.getMessage()
        what, _, why = text.partition(": ")
        if what.startswith("Invalid request") and not why.startswith("[SSL: "):
            record.msg, record.args = what, ()  # only the client's address
        elif record.exc_info:
            record.msg, record.args = str(record.msg).partition(" %")[0], ()  # without the URL
        return True


def set_up_log(_server: Any) -> None:
    """Send gunicorn's records to our own log."""
    log = logging.getLogger("gunicorn.error")
    log.handlers.clear()
    log.propagate = True
    log.addFilter(Discreet())
