"""What gunicorn calls as connections and workers come and go."""

import os
import shutil
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask

METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client keeps what several workers count; read when it is first imported."""
_answering = threading.local()


def close_after_reply() -> None:
    """Close the connection of the request that this thread answers, and say so in the reply."""
    if request := getattr(_answering, "request", None):  # there is none under waitress
        request.force_close()


def closing_over(max_body_bytes: int) -> Callable[[Any, Any], None]:
    """Close the connection, and say so, after a body over the limit, or that may be."""

    def before(_worker: Any, request: Any) -> None:
        _answering.request = request
        headers = dict(request.headers)
        length = int(headers.get("CONTENT-LENGTH", 0))
        if length > max_body_bytes or "TRANSFER-ENCODING" in headers:
            request.force_close()

    return before


def close_worker(_server: Any, worker: Any) -> None:
    """Close what the application of a worker has opened."""
    if isinstance(getattr(worker, "wsgi", None), Flask):  # else it failed to start
        worker.wsgi.extensions["closing"].close()


def forget_worker(_server: Any, worker: Any) -> None:
    """Leave out the gauges of a worker that has gone."""
    if METRICS_DIR in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def forget_metrics(_server: Any) -> None:
    """Called in the parent alone, when all workers have gone."""
    if METRICS_DIR in os.environ:
        shutil.rmtree(os.environ[METRICS_DIR], ignore_errors=True)
