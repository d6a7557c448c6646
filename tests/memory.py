"""The memory that a process takes for something."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 64 * 2**20
"""For any input that is refused."""


@contextmanager
def small_memory(process_id: int) -> Iterator[None]:
    """Assert that meanwhile the peak of a process's memory grows by MOST_BYTES at most."""
    process = Path("/proc", str(process_id))
    (process / "clear_refs").write_text("5")  # the peak is what is used now
    before = _peak_bytes(process)
    yield
    assert _peak_bytes(process) - before < MOST_BYTES


def _peak_bytes(process: Path) -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", (process / "status").read_text())
    assert found
    return int(found[1]) * 1024
