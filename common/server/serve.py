"""Serving a Flask application: its socket, its server, and its limits.

`Process.server` names the server. The default is gunicorn for services with worker processes
(front, middle), and waitress for services of one process with threads (search, inference). Only
public settings and hooks of the servers are used.
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
from common.preflight import who_listens
from common.process import ERROR
from common.server import descriptors, heap, worker_metrics
from common.server.drain import Draining
from common.tls import Tls

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16 * 2**10
MAX_CONNECTIONS = 4096
"""Of a worker. Fewer if the descriptor limit is low."""
BACKLOG = 1024
"""Connections that wait to be accepted. The servers accept at once: this is room for a burst."""
SPARE_THREADS = 16
"""Threads that refuse requests over the limit and answer /healthz, in less than 1 ms each."""
DEFER_S = 30
"""The time that the kernel holds back a new connection without data."""
WORKER_START_S = 60
BOOT_ERROR = 3
"""The exit status of a worker that cannot start; gunicorn then starts no other worker."""


@dataclass(frozen=True)
class Serving:
    """The address, the size and the limits of a server."""

    address: str
    port: int
    threads: int
    max_body_bytes: int
    workers: int = 1
    process: Process = field(default_factory=Process)
    max_in_flight: int = sys.maxsize
    """The requests that a worker takes at a time."""
    max_in_flight_bytes: int = sys.maxsize
    """The bytes of their bodies."""
    connections: int = MAX_CONNECTIONS
    """The connections that a worker takes at a time; the kernel keeps further ones waiting."""
    tls: Tls | None = None
    start_s: int = 0
    """The time limit for the start of a worker; 0: no limit."""


def announce(port: int) -> None:
    """Tell the process that started this server that it takes connections from now on."""
    os.write(sys.stdout.fileno(), f"listening {port}\n".encode())  # one write, not mixed with logs


def threads_for(section: str, max_in_flight: int, threads: int | None) -> int:
    """The threads of a worker: enough that each request reaches `Admission` at once."""
    if threads is not None:
        log.warning("%s.threads has no effect any more: it is max-in-flight that counts", section)
    return max_in_flight + SPARE_THREADS


def serve_threads(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes from one process until SIGTERM or SIGINT; returns when drained.

    waitress has no TLS. With TLS, one gunicorn worker serves, and `create` is called in the worker.
    """
    _serve(create, serving, "gunicorn" if serving.tls else "waitress")


def serve_workers(factory: str, arguments: tuple[Any, ...], serving: Serving) -> None:
    """Serve `factory` ("module:function") called with `arguments`, from worker processes.

    Each worker imports and calls the factory after the fork. The threads and connections that the
    factory opens belong to that worker.
    """
    worker_metrics.share(serving.workers)
    create = partial(_create, factory, arguments)
    has_fork = hasattr(os, "fork")
    serving = replace(serving, start_s=WORKER_START_S)
    _serve(create, serving, "gunicorn" if has_fork else "waitress")


def _serve(create: Callable[[], Flask], serving: Serving, usual: str) -> None:
    """Serve with the configured server, or with the `usual` server; raises ConfigError."""
    set_level(serving.process.log_level)
    if serving.max_in_flight_bytes < sys.maxsize:
        heap.use_one_arena()
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
    runner.serve(create, within_descriptors(serving))


def within_descriptors(serving: Serving) -> Serving:
    """With as many connections and threads as the descriptor limit bears; raises ConfigError."""
    limit = descriptors.raise_limit(descriptors.needed(serving.connections, serving.threads))
    connections, threads = descriptors.share(limit, serving.connections, serving.threads)
    if (connections, threads) == (serving.connections, serving.threads):
        return serving
    max_in_flight = serving.max_in_flight - (serving.threads - threads)
    if min(threads, max_in_flight) < 1:
        raise ConfigError(
            f"the descriptor limit of {limit} is too low for any request: raise it (ulimit -n)"
        )
    log.warning(
        "the descriptor limit of %s leaves room for %s connections, %s requests at a time,"
        " in each worker: raise it (ulimit -n)",
        *(limit, connections, min(threads, max_in_flight)),
    )
    return replace(serving, connections=connections, threads=threads, max_in_flight=max_in_flight)


def bind(serving: Serving) -> socket.socket:
    """A socket that is bound to its port and does not listen yet; raises ConfigError.

    The kernel passes on a connection after its first data, so that a silent connection takes no
    thread. A system without TCP_DEFER_ACCEPT passes it on at once.
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
        reasons = [os.strerror(error.errno or 0), who_listens(port)]
        told = ". ".join(filter(None, reasons))
        raise ConfigError(f"cannot listen on {address}:{port}: {told}") from None
    return bound


def begin(app: Flask, serving: Serving, draining: Draining) -> None:
    """Limit, watch and trace an app as long as it serves; call it after the fork."""
    if "admission" not in app.extensions:  # not a service of ours
        return
    from common.server.slow_requests import SlowRequests  # imports metrics: see worker_metrics
    from common.server.traces import trace

    admission = app.extensions["admission"]
    admission.limit, admission.draining = serving.max_in_flight, draining
    admission.bodies.limit = serving.max_in_flight_bytes
    slow_requests = SlowRequests(app.name, admission, serving.process.stuck_s)
    slow_requests.start()
    app.extensions["closing"].callback(slow_requests.close)
    if serving.process.traces:
        trace(app, serving.process.traces)


def create_in_worker(create: Callable[[], Flask]) -> Flask:
    """The app of a worker process; a ConfigError ends this worker and the server."""
    try:
        return create()
    except ConfigError as error:
        print(f"{ERROR}{error}", file=sys.stderr, flush=True)
        sys.exit(BOOT_ERROR)


def _create(factory: str, arguments: tuple[Any, ...]) -> Flask:
    module, _, function = factory.partition(":")
    app: Flask = getattr(importlib.import_module(module), function)(*arguments)
    # The objects of the start stay: the garbage collector need not scan them again.
    gc.collect()
    gc.freeze()
    return app
