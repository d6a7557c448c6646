"""The life of a server process: it binds, says `listening PORT`, serves, and drains on SIGTERM.

Services that are one process with threads (search, inference) run under waitress; those that
scale by worker processes (front, middle) under gunicorn, or waitress where there is no fork.
"""

import gc
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import waitress
from flask import Flask

from common.errors import ConfigError
from common.tls import Tls, server_context

DRAIN_S = 10.0  # how long requests that are under way may take once we were told to stop
FLUSH_S = 0.1  # a reply that is done is still being written
MAX_HEADER_BYTES = 16 * 2**10
BACKLOG = 1024
ERROR = "error: "
"""How the line begins that a program ends with for what the operator got wrong."""
WORKER_START_S = 60
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"

Factory = Callable[..., Flask]
_answering = threading.local()


def run(main: Callable[[], None]) -> None:
    """Call `main`; what the operator got wrong ends in one line and exit status 2."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # waitress counts every request that waits for a thread; ours are meant to wait for a batch
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        main()
    except ConfigError as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


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
    tls: Tls | None = None


def serve_threads(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes from one process until SIGTERM or SIGINT; returns when drained.

    waitress knows no TLS: with it that is gunicorn's one worker, and `create` is called there.
    """
    if serving.tls:
        _serve_gunicorn(create, serving, start_s=0)
        return
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
    signal.signal(signal.SIGTERM, lambda *_: _start_drain(app))
    # Behind nohup and & it is ignored, and the drain ends with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


def _start_drain(app: Flask) -> None:
    app.extensions["drain"].started.set()
    threading.Thread(target=_drain, args=(app,), name="drain", daemon=True).start()


def _drain(app: Flask) -> None:
    """Wait for the requests under way, then interrupt the main thread."""
    until = time.monotonic() + DRAIN_S
    while app.extensions["drain"].in_flight and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(FLUSH_S)
    os.kill(os.getpid(), signal.SIGINT)


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

    class Application(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for key, value in {**_gunicorn_settings(serving), "timeout": start_s}.items():
                self.cfg.set(key, value)

        def load(self) -> Flask:
            try:
                return create()
            except ConfigError as error:
                print(f"{ERROR}{error}", file=sys.stderr)
                sys.exit(Arbiter.WORKER_BOOT_ERROR)  # which starts no other

    if serving.workers == 1:
        os.environ.pop(METRICS_DIR, None)  # someone else's folder is not ours to write or delete
    if serving.port:  # else gunicorn would try a taken port for seconds
        _listen(serving).close()
    Application().run()


def _create(factory: str, arguments: tuple[Any, ...]) -> Flask:
    module, _, function = factory.partition(":")
    create: Factory = getattr(importlib.import_module(module), function)
    app = create(*arguments)
    # What is loaded now stays: the garbage collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    return app


def _gunicorn_settings(serving: Serving) -> dict[str, Any]:
    host = f"[{serving.address}]" if ":" in serving.address else serving.address
    settings = {
        "bind": f"{host}:{serving.port}",
        "workers": serving.workers,
        "worker_class": "gthread",
        "threads": serving.threads,
        "worker_connections": 4096,
        "backlog": BACKLOG,
        "keepalive": 75,
        "graceful_timeout": int(DRAIN_S),
        "loglevel": "warning",
        "limit_request_line": 8190,
        "control_socket_disable": True,
        "post_worker_init": _announce_first,
        "pre_request": _closing_over(serving.max_body_bytes),
        "worker_exit": _close_worker,
        "child_exit": _forget_worker,
        "on_exit": _forget_metrics,
    }
    if tls := serving.tls:
        settings |= {
            "certfile": str(tls.cert),  # which says that there is TLS; the hook says how
            "ssl_context": lambda _settings, _default: server_context(tls),
        }
    return settings


def close_after_reply() -> None:
    """Close the connection of the request that this thread answers, and say so in the reply."""
    if request := getattr(_answering, "request", None):  # there is none under waitress
        request.force_close()


def _closing_over(max_body_bytes: int) -> Callable[[Any, Any], None]:
    """Close the connection, and say so, after a body over the limit, or that may be."""

    def before(_worker: Any, request: Any) -> None:
        _answering.request = request
        headers = dict(request.headers)
        length = int(headers.get("CONTENT-LENGTH", 0))
        if length > max_body_bytes or "TRANSFER-ENCODING" in headers:
            request.force_close()

    return before


def _announce_first(worker: Any) -> None:
    """Say that we listen once the first worker has made its app."""
    if worker.age == 1:
        announce(worker.sockets[0].getsockname()[1])


def _close_worker(_server: Any, worker: Any) -> None:
    if isinstance(worker.wsgi, Flask):  # it failed to start, else
        worker.wsgi.extensions["closing"].close()


def _forget_worker(_server: Any, worker: Any) -> None:
    if METRICS_DIR in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _forget_metrics(_server: Any) -> None:
    """Called in the parent alone, when all workers have gone."""
    if METRICS_DIR in os.environ:
        shutil.rmtree(os.environ[METRICS_DIR], ignore_errors=True)
