"""Serving a Flask application: its socket, its server, and what it needs while it serves.

`Process.server` names the server. By default it is gunicorn for those that scale by worker
processes (front, middle), and waitress for those that are one process with threads (search,
inference). Each is told what to do by its public settings and hooks.
"""

import gc
import importlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from flask import Flask

from common import tracing
from common.config import Process
from common.errors import ConfigError, MissingPackage
from common.logs import set_level
from common.process import ERROR
from common.server import worker_metrics
from common.server.drain import Draining
from common.tls import Tls

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16 * 2**10
MAX_CONNECTIONS = 4096
BACKLOG = 1024
"""Connections that were made and not yet taken, which is done at once: room for a burst."""
SPARE_THREADS = 16
"""They refuse what is too much, and answer /healthz; each takes less than a millisecond."""
DEFER_S = 30
"""So long the kernel keeps a new connection to itself on which nothing comes."""
WORKER_START_S = 60
BOOT_ERROR = 3
"""The exit status of a worker after which gunicorn starts no other."""


@dataclass(frozen=True)
class Serving:
    """Where and how wide to serve."""

    address: str
    port: int
    threads: int
    max_body_bytes: int
    workers: int = 1
    process: Process = field(default_factory=Process)
    max_in_flight: int = sys.maxsize
    """Requests of a worker at a time."""
    tls: Tls | None = None
    start_s: int = 0
    """What a worker may take to start; 0: any time."""


def announce(port: int) -> None:
    """Tell whoever started us that connections are taken from now on."""
    os.write(sys.stdout.fileno(), f"listening {port}\n".encode())  # in one piece, between logs


def threads_for(section: str, max_in_flight: int, threads: int | None) -> int:
    """The threads of a worker: so many that no request waits for one unseen."""
    if threads is not None:
        log.warning("%s.threads has no effect any more: it is max-in-flight that counts", section)
    return max_in_flight + SPARE_THREADS


def serve_threads(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes from one process until SIGTERM or SIGINT; returns when drained.

    waitress knows no TLS: with it that is gunicorn's one worker, and `create` is called there.
    """
    _serve(create, serving, "gunicorn" if serving.tls else "waitress")


def serve_workers(factory: str, arguments: tuple[Any, ...], serving: Serving) -> None:
    """Serve `factory` ("module:function") called with `arguments`, from worker processes.

    The factory is imported and called in each worker, after the fork, so that what it opens
    (threads, connections) belongs to that worker.
    """
    worker_metrics.share(serving.workers)
    create = partial(_create, factory, arguments)
    has_fork = hasattr(os, "fork")
    serving = replace(serving, start_s=WORKER_START_S)
    _serve(create, serving, "gunicorn" if has_fork else "waitress")


def _serve(create: Callable[[], Flask], serving: Serving, usual: str) -> None:
    """Serve with the server that the configuration names; raises ConfigError."""
    set_level(serving.process.log_level)
    if serving.process.traces:
        tracing.require()
    named = serving.process.server
    server = usual if named == "auto" else named
    try:
        runner = importlib.import_module(f"common.server.run_{server}")
    except ModuleNotFoundError as error:
        if error.name != server:
            raise
        needed = f"pip install -r requirements-{server}.txt"
        raise MissingPackage(f"Process.server {server} needs: {needed}") from None
    runner.serve(create, serving)


def bind(serving: Serving) -> socket.socket:
    """A socket that has its port, and does not listen yet; raises ConfigError when it cannot.

    Connections reach the server when something has come on them, so that silent ones take no
    thread; where the system cannot do that, they come at once.
    """
    address, port = serving.address, serving.port
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_S)
    try:
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        reason = os.strerror(error.errno or 0)
        raise ConfigError(f"cannot listen on {address}:{port}: {reason}") from None
    return bound


def begin(app: Flask, serving: Serving, draining: Draining) -> None:
    """Limit, watch and trace an app as long as it serves; call it after the fork."""
    if "admission" not in app.extensions:  # it is none of our services
        return
    from common.server.slow_requests import SlowRequests  # which has metrics: see worker_metrics
    from common.server.traces import trace

    admission = app.extensions["admission"]
    admission.limit, admission.draining = serving.max_in_flight, draining
    slow_requests = SlowRequests(app.name, admission, serving.process.stuck_s)
    slow_requests.start()
    app.extensions["closing"].callback(slow_requests.close)
    if serving.process.traces:
        trace(app, serving.process.traces)


def create_in_worker(create: Callable[[], Flask]) -> Flask:
    """The app of a worker process; what the operator got wrong ends it, and all others."""
    try:
        return create()
    except ConfigError as error:
        print(f"{ERROR}{error}", file=sys.stderr, flush=True)
        sys.exit(BOOT_ERROR)


def _create(factory: str, arguments: tuple[Any, ...]) -> Flask:
    module, _, function = factory.partition(":")
    app: Flask = getattr(importlib.import_module(module), function)(*arguments)
    # What is loaded now stays: the garbage collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    return app
