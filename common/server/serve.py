"""The life of a server process: it binds, says `listening PORT`, serves, and drains on SIGTERM.

Services that are one process with threads (search, inference) run under waitress; those that
scale by worker processes (front, middle) under gunicorn, or waitress where there is no fork.
"""

import gc
import importlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import waitress
from flask import Flask

from common import tracing
from common.config import Process
from common.errors import ConfigError
from common.logs import set_level
from common.process import ERROR
from common.server.drain import DRAIN_S, start_drain
from common.server.hooks import (
    METRICS_DIR,
    close_worker,
    closing_over,
    forget_metrics,
    forget_worker,
)
from common.server.traces import trace
from common.tls import Tls, server_context

MAX_HEADER_BYTES = 16 * 2**10
BACKLOG = 1024
"""Connections that were made and not yet taken, which is done at once: room for a burst."""
WORKER_START_S = 60

Factory = Callable[..., Flask]


def announce(port: int) -> None:
    """Tell whoever started us that connections are taken from now on."""
    print(f"listening {port}", flush=True)


class Serving(NamedTuple):
    """Where and how wide to serve."""

    address: str
    port: int
    threads: int
    max_body_bytes: int
    workers: int = 1
    process: Process = Process()
    max_in_flight: int = sys.maxsize
    """Requests of a worker, those that wait for a thread too."""
    tls: Tls | None = None


def serve_threads(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes from one process until SIGTERM or SIGINT; returns when drained.

    waitress knows no TLS: with it that is gunicorn's one worker, and `create` is called there.
    """
    if serving.tls:
        _serve_gunicorn(create, serving, start_s=0)
        return
    _begin(serving.process)
    app = create()
    listener = _listen(serving)
    server = waitress.create_server(
        app,
        sockets=[listener],
        threads=serving.threads,
        max_request_body_size=serving.max_body_bytes,
        max_request_header_size=MAX_HEADER_BYTES,
        connection_limit=4096,
        channel_request_lookahead=1,  # so that it notices when a client has gone
        ident=None,
        clear_untrusted_proxy_headers=True,
    )
    in_flight, wait_s = app.extensions["in_flight"], serving.process.drain_wait_s
    signal.signal(signal.SIGTERM, lambda *_: start_drain(in_flight, server, wait_s))
    # Behind nohup and & it is ignored, and the drain ends with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _observe(app, serving.process)
    announce(listener.getsockname()[1])
    with app.extensions["closing"]:
        server.run()  # returns on the KeyboardInterrupt that ends the drain


def _listen(serving: Serving) -> socket.socket:
    """A socket that listens; raises ConfigError when it cannot."""
    address, port = serving.address, serving.port
    try:
        return socket.create_server((address, port), family=_family(address), backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError(f"cannot listen on {address}:{port}: {reason}") from None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _observe(app: Flask, process: Process) -> None:
    """Have an app watched and traced as long as it serves; call it after the fork."""
    if "in_flight" not in app.extensions:  # it is none of our services
        return
    from common.server.slow_requests import Watchdog  # which has metrics, see `serve_workers`

    watchdog = Watchdog(app.name, app.extensions["in_flight"], process.stuck_s)
    watchdog.start()
    app.extensions["closing"].callback(watchdog.close)
    if process.traces:
        trace(app, process.traces)


def _begin(process: Process) -> None:
    """What a process does before it serves; raises MissingPackage."""
    set_level(process.log_level)
    if process.traces:
        tracing.require()


def serve_workers(factory: str, arguments: tuple[Any, ...], serving: Serving) -> None:
    """Serve `factory` ("module:function") called with `arguments`, from worker processes.

    The factory is imported and called in each worker, after the fork, so that what it opens
    (threads, connections) belongs to that worker.
    """
    if serving.workers > 1:
        # Read by prometheus_client when it is first imported: before that, here.
        os.environ[METRICS_DIR] = tempfile.mkdtemp(prefix="clip-search-metrics-")
    if not hasattr(os, "fork"):
        serve_threads(lambda: _create(factory, arguments), serving)
        return
    _serve_gunicorn(lambda: _create(factory, arguments), serving, WORKER_START_S)


def _serve_gunicorn(create: Callable[[], Flask], serving: Serving, start_s: int) -> None:
    """Serve what `create` makes in each worker, which may take it `start_s`; 0: for ever."""
    from gunicorn.app.base import BaseApplication
    from gunicorn.arbiter import Arbiter

    from common.server.worker import DrainingArbiter

    class Application(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            self.serving = serving
            for key, value in {**_gunicorn_settings(serving), "timeout": start_s}.items():
                self.cfg.set(key, value)

        def load(self) -> Flask:
            try:
                app = create()
            except ConfigError as error:
                print(f"{ERROR}{error}", file=sys.stderr)
                sys.exit(Arbiter.WORKER_BOOT_ERROR)  # which starts no other
            _observe(app, serving.process)
            return app

    _begin(serving.process)
    if serving.workers == 1:
        os.environ.pop(METRICS_DIR, None)  # someone else's folder is not ours to write or delete
    if serving.port:  # else gunicorn would try a taken port for seconds
        _listen(serving).close()
    DrainingArbiter(Application()).run()


def _create(factory: str, arguments: tuple[Any, ...]) -> Flask:
    module, _, function = factory.partition(":")
    create: Factory = getattr(importlib.import_module(module), function)
    app = create(*arguments)
    # What is loaded now stays: the garbage collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    return app


def _gunicorn_settings(serving: Serving) -> dict[str, Any]:
    from common.server.worker import Log, Worker

    host = f"[{serving.address}]" if ":" in serving.address else serving.address
    settings = {
        "bind": f"{host}:{serving.port}",
        "workers": serving.workers,
        "worker_class": Worker,
        "logger_class": Log,
        "threads": serving.threads,
        "worker_connections": 4096,
        "backlog": BACKLOG,
        "keepalive": 75,
        "graceful_timeout": int(DRAIN_S),
        "loglevel": "warning",
        "limit_request_line": 8190,
        "control_socket_disable": True,
        "post_worker_init": _announce_first,
        "pre_request": closing_over(serving.max_body_bytes),
        "worker_exit": close_worker,
        "child_exit": forget_worker,
        "on_exit": forget_metrics,
    }
    if tls := serving.tls:
        settings |= {
            "certfile": str(tls.cert),  # which says that there is TLS; the hook says how
            "do_handshake_on_connect": True,  # there it has a limit: tls.HANDSHAKE_S
            "ssl_context": lambda _settings, _default: server_context(tls),
        }
    return settings


def _announce_first(worker: Any) -> None:
    """Say that we listen once the first worker has made its app."""
    if worker.age == 1:
        announce(worker.sockets[0].getsockname()[1])
