"""The metrics of several worker processes together, by prometheus_client's multiprocess mode."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable with prometheus_client's folder, which its first import reads."""


def share(workers: int) -> None:
    """Let workers count together; call it before anything imports prometheus_client."""
    os.environ.pop(FOLDER, None)  # a folder from outside is not ours to write or delete
    if workers > 1:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="clip-search-metrics-")


def forget_worker(pid: int) -> None:
    """Remove the gauges of a worker that has ended."""
    if FOLDER in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def join() -> None:
    """Register this worker and remove ended workers, for a server without a hook for an end."""
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
    """Delete the counts after all workers have ended."""
    if FOLDER in os.environ:
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
