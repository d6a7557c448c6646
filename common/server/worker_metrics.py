"""What several worker processes count together, by prometheus_client's means."""

import os
import shutil
import tempfile
from pathlib import Path
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


def join() -> None:
    """Note this worker, and leave out those that have gone; for servers that tell of none."""
    if FOLDER not in os.environ:
        return
    folder = Path(os.environ[FOLDER])
    for mark in folder.glob("worker-*"):
        pid = int(mark.name.partition("-")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            forget_worker(pid)
            mark.unlink(missing_ok=True)
    (folder / f"worker-{os.getpid()}").touch()


def forget_all(_server: Any = None) -> None:
    """Delete what was counted, when all workers have gone."""
    if FOLDER in os.environ:
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
