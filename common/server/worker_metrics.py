"""What several worker processes count together, by prometheus_client's means."""

import os
import shutil
import tempfile
from typing import Any

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client keeps the counts; read when it is first imported."""


def share(workers: int) -> None:
    """Have so many workers count together; call it before anything imports prometheus_client."""
    os.environ.pop(FOLDER, None)  # someone else's folder is not ours to write or delete
    if workers > 1:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="clip-search-metrics-")


def forget_worker(pid: int) -> None:
    """Leave out the gauges of a worker that has gone."""
    if FOLDER in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def forget_all(_server: Any = None) -> None:
    """Delete what was counted, when all workers have gone."""
    if FOLDER in os.environ:
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
