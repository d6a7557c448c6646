"""What processes take, as /proc tells it."""

import os
import sys
import time
from subprocess import Popen

import pytest

from devtools.memory import growth_of, resident_bytes, watching
from devtools.process_tree import cpu_seconds, process_tree
from devtools.services import Cluster


def test_memory_growth_is_from_when_it_had_settled() -> None:
    """What is loaded in the first minute is no growth, and neither is one odd sample."""
    settling = [(second, 10 * second) for second in range(60)]
    flat = [(second, 1000) for second in range(60, 300)]
    grown = [(second, 1030) for second in range(300, 320)]

    assert pytest.approx(0.03) == growth_of([*settling, *flat, *grown], 60)
    assert 0 == growth_of([*settling, *flat, (300, 5000)], 60)
    assert 0 == growth_of([(0, 9), (10, 7), (20, 7)], 60)


def test_memory_is_that_of_a_process_and_of_all_that_it_started(services: Cluster) -> None:
    """gunicorn's worker holds more than the process that was started."""
    middle = services.middle.process.pid
    alone = [resident_bytes([pid]) for pid in (middle, os.getpid())]

    assert sum(alone) == pytest.approx(resident_bytes([middle, os.getpid()]), rel=0.1)
    assert alone[0] > 30 * 2**20
    assert 0 < resident_bytes([middle], with_files=False) < alone[0]


def test_memory_is_watched_while_a_block_lasts(services: Cluster) -> None:
    """Samples of all processes of a system."""
    pids = [pid for service in services.pids.values() for pid in service]
    with watching(pids, every_s=0.01) as samples:
        while len(samples) < 3:
            services.middle.get("/healthz")

    assert ["front", "middle", "inference", "search"] == list(services.pids)
    assert all(size > 100 * 2**20 for _, size in samples)


def test_cpu_time_is_that_of_children_too() -> None:
    """Of one that computes, while it does and once it has ended."""
    compute = "import time\nwhile time.process_time() < .5: pass"
    before = cpu_seconds([os.getpid()])
    with Popen([sys.executable, "-c", f"{compute}\ninput()"], stdin=-1) as process:
        deadline = time.monotonic() + 30
        while cpu_seconds([process.pid]) < 0.3:
            assert time.monotonic() < deadline
        assert {os.getpid(), process.pid} <= set(process_tree([os.getpid()]))
        process.communicate(b"\n")

    assert cpu_seconds([os.getpid()]) - before >= 0.3
