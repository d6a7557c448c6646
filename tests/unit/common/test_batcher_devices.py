"""Several kinds of device at one queue of a batcher, and the gauges of a queue."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.batcher import Batcher
from common.device_shares import BATCHES, MIN_BATCHES
from common.gather import Gather
from devtools.fake_clock import FakeClock
from tests.unit.counting import counted

WAIT_S = 10.0
CUDA_S, CPU_S = 0.01, 0.085
"""Seconds for an item; the CPU is measured while the GPU computes, which adds its time."""


class Device:
    """Takes a time for each item once it is let go; notes its batches."""

    def __init__(self, clock: FakeClock, item_s: float) -> None:
        self.clock, self.item_s = clock, item_s
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int], _deadline: float) -> list[int]:
        self.batches.append(items)
        self.entered.release()
        assert self.go.acquire(timeout=WAIT_S)
        self.clock.advance(len(items) * self.item_s)
        return items

    def has_entered(self) -> None:
        assert self.entered.acquire(timeout=WAIT_S)


class System:
    """A batcher with a GPU and a CPU, both of a known speed."""

    def __init__(self, name: str) -> None:
        self.clock = FakeClock()
        self.cuda, self.cpu = Device(self.clock, CUDA_S), Device(self.clock, CPU_S)
        runs = {"cuda": [self.cuda], "cpu": [self.cpu]}
        self.batcher = Batcher(name, runs, 64, 1024, max_size=256, now=self.clock)
        self.batcher.start()

    def submit(self, *items: int) -> Gather:
        gather = Gather(len(items), self.clock() + 1e6)
        for slot, item in enumerate(items):
            self.batcher.submit(item, gather, slot)
        return gather

    def measure(self) -> None:
        """Both run batches of one item, the CPU while the GPU is busy."""
        for _ in range(MIN_BATCHES):
            gathers = [self.submit(-1)]
            self.cuda.has_entered()
            gathers.append(self.submit(-2))
            self.cpu.has_entered()
            for idle, device in enumerate((self.cuda, self.cpu), start=1):
                device.go.release()
                self.becomes_idle(idle)
            for gather in gathers:
                gather.wait()
        self.cuda.batches.clear()
        self.cpu.batches.clear()

    def becomes_idle(self, workers: int) -> None:
        """Wait until so many workers are idle."""
        limit = time.monotonic() + WAIT_S
        while workers != sum(self.gauge("idle_workers", device=kind) for kind in ("cuda", "cpu")):
            assert time.monotonic() < limit

    def gauge(self, name: str, **labels: str) -> float:
        return counted(f"clip_search_{name}", batcher=self.batcher.name, **labels)


@pytest.fixture
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system whose devices wait, and are let go at the end."""
    with opened(request.node.name) as one:
        yield one


@contextmanager
def opened(name: str) -> Iterator[System]:
    one = System(name)
    try:
        yield one
    finally:
        for device in (one.cuda, one.cpu):
            device.go.release(1000)
        one.batcher.close()


def test_a_short_queue_is_left_to_the_fast_device(system: System) -> None:
    """Also while it is busy: the slow one would end later."""
    system.measure()
    first = system.submit(0)
    system.cuda.has_entered()
    then = system.submit(*range(1, 6))
    assert 1 == system.gauge("idle_workers", device="cpu")
    system.cuda.go.release(2)

    assert [0] == first.wait()
    assert [1, 2, 3, 4, 5] == then.wait()
    assert [[0], [1, 2, 3, 4, 5]] == system.cuda.batches
    assert [] == system.cpu.batches


def test_a_long_queue_is_shared(system: System) -> None:
    """The slow device takes about a tenth of those that wait for the fast one, as they come."""
    system.measure()
    gathers = [system.submit(0)]
    system.cuda.has_entered()
    gathers += [system.submit(*range(1, 10)), system.submit(10)]
    system.cpu.has_entered()
    gathers.append(system.submit(*range(11, 41)))
    system.cpu.go.release()
    system.cpu.has_entered()
    system.cuda.go.release(2)
    system.cuda.has_entered()
    system.cpu.go.release()

    assert list(range(41)) == [item for gather in gathers for item in gather.wait()]
    assert [[1], [2, 3, 4, 5]] == system.cpu.batches  # of 10, and of 39
    assert [[0], list(range(6, 41))] == system.cuda.batches


def test_what_the_fast_device_leaves_is_offered_to_the_slow_one(system: System) -> None:
    """Many items come before the fast one, which was idle, takes its batch of 64."""
    system.measure()
    gather = system.submit(*range(200))
    system.cuda.has_entered()
    system.cpu.has_entered()
    for device in (system.cuda, system.cpu):
        device.go.release(200)

    assert list(range(200)) == gather.wait()


def test_a_device_that_became_slow_leaves_its_queue_to_the_other(system: System) -> None:
    """The other, which slept, is notified when the last of the quick batches is forgotten."""
    system.measure()
    system.cuda.item_s = 1.0
    gathers = [system.submit(0)]
    for item in range(1, BATCHES + 1):
        system.cuda.has_entered()
        gathers.append(system.submit(item))
        system.cuda.go.release()
    system.cpu.has_entered()
    system.cpu.go.release()

    assert list(range(BATCHES + 1)) == [gather.first() for gather in gathers]
    assert [[BATCHES]] == system.cpu.batches


def test_the_first_device_counts_as_the_fastest_while_nothing_is_known(system: System) -> None:
    """The other takes items one by one, while the first is busy."""
    gather = system.submit(0)
    system.cuda.has_entered()
    more = system.submit(1, 2, 3)
    system.cpu.has_entered()
    system.cuda.go.release(2)
    system.cuda.has_entered()
    system.cpu.go.release(1)

    assert [0] == gather.wait()
    assert [1, 2, 3] == more.wait()
    assert ([[0], [2, 3]], [[1]]) == (system.cuda.batches, system.cpu.batches)


def test_all_devices_finish_the_queue_of_a_batcher_that_closes(system: System) -> None:
    """No item is left because its share of a device is less than one."""
    system.measure()
    first = system.submit(0)
    system.cuda.has_entered()
    then = system.submit(1, 2)
    closing = threading.Thread(target=system.batcher.close)
    closing.start()
    system.cpu.has_entered()
    system.cpu.go.release()

    assert [1, 2] == then.wait()
    system.cuda.go.release()
    assert [0] == first.wait()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert [[1, 2]] == system.cpu.batches


def test_the_gauges_follow_the_queue(system: System) -> None:
    """What waits, who is idle, and how full the last batch was, from the start to the end."""
    assert (0, 1, 1) == (
        system.gauge("queue_items"),
        system.gauge("idle_workers", device="cuda"),
        system.gauge("idle_workers", device="cpu"),
    )
    system.measure()
    first = system.submit(0)
    system.cuda.has_entered()
    then = system.submit(*range(1, 9))
    assert (8, 0, 1) == (
        system.gauge("queue_items"),
        system.gauge("idle_workers", device="cuda"),
        system.gauge("idle_workers", device="cpu"),
    )
    assert 1 / 64 == system.gauge("batch_fill")
    system.cuda.go.release()
    system.cuda.has_entered()
    assert (0, 8 / 64) == (system.gauge("queue_items"), system.gauge("batch_fill"))
    system.cuda.go.release()
    for gather in (first, then):
        gather.wait()
    system.becomes_idle(2)


def test_a_batch_is_full_by_its_size_too(system: System) -> None:
    """An item of 128 tokens fills half of a batch of 256."""
    gather = Gather(1, system.clock() + 1e6)
    system.batcher.submit(0, gather, 0, 128)
    system.cuda.has_entered()

    assert 0.5 == system.gauge("batch_fill")
