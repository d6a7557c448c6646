"""Waiting for what a running prepare does."""

import subprocess
import time
from collections.abc import Callable

from tests.prepare.prepared_folder import Workspace


def chunks_grow(
    workspace: Workspace, chunks: int, process: subprocess.Popen[str], timeout_s: float = 60
) -> None:
    """Wait until a running prepare has embedded that many chunks more."""
    before = embedded_chunks(workspace)
    wait_for(lambda: embedded_chunks(workspace) >= before + chunks, process, timeout_s)


def embedded_chunks(workspace: Workspace) -> int:
    """How many chunks are embedded, those of a run under way included."""
    folder = workspace.embeddings
    return len(folder.entries()) + sum(len(plan.done()) for plan in folder.plans())


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[str], timeout_s: float = 60
) -> None:
    """Look until something is so that a running process brings about; it must not end before."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.001)
