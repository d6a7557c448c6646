"""The figures of the open loop, and the memory beside it."""

import itertools
import os

import pytest

from benchmarks import open_loop
from benchmarks.generated import queries
from devtools.collection import Collection
from devtools.memory import resident_bytes
from devtools.open_loop import Reply
from devtools.services import Cluster


def replies(latencies_ms: list[float]) -> list[Reply]:
    return [Reply(f"query {n}", n, ms, n > 0, b"") for n, ms in enumerate(latencies_ms)]


def test_percentiles_are_over_all_queries_those_that_failed_too() -> None:
    """Only half load has a target: p99 within four times p50."""
    found = open_loop.figures(0.5, replies([100.0, *[10.0] * 99, 50.0]), seconds=10)

    assert [10.1, 10, 50] == [one.value for one in found[:3]]
    assert 50 < found[3].value < 100
    assert (5, False) == (found[4].value, found[4].is_met)
    assert (1, False) == (found[5].value, found[5].is_met)
    assert open_loop.figures(1.0, replies([1.0]), 1)[4].is_met is None


def test_memory_growth_is_from_when_it_had_settled() -> None:
    """What is loaded in the first minute is no growth, and neither is one odd sample."""
    settling = [(second, 10 * second) for second in range(60)]
    flat = [(second, 1000) for second in range(60, 300)]
    grown = [(second, 1030) for second in range(300, 320)]

    assert pytest.approx(0.03) == open_loop.growth_of([*settling, *flat, *grown], 60)
    assert 0 == open_loop.growth_of([*settling, *flat, (300, 5000)], 60)
    assert 0 == open_loop.growth_of([(0, 9), (10, 7), (20, 7)], 60)


def test_memory_is_that_of_a_process_and_of_all_that_it_started(services: Cluster) -> None:
    """gunicorn's worker holds more than the process that was started."""
    middle = services.middle.process.pid
    alone = [resident_bytes([pid]) for pid in (middle, os.getpid())]

    assert sum(alone) == pytest.approx(resident_bytes([middle, os.getpid()]), rel=0.1)
    assert alone[0] > 30 * 2**20


def test_the_whole_measurement_has_a_figure_for_each_load(
    services: Cluster, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each load has its queries, percentiles, errors and checked answers."""
    monkeypatch.setattr(open_loop, "WARM_UP_S", 0.5)
    truth = open_loop.Truth(collection.vectors(), collection.model())

    found = open_loop.measure(services, 40, 1, itertools.islice(queries(), 500), truth)

    assert [10, 20, 30, 40] == [one.value for one in found if one.name.endswith(": queries")]
    assert {0} == {one.value for one in found if one.name.endswith("errors")}
    assert {1} == {one.value for one in found if "recall" in one.name}


def test_memory_is_watched_while_a_block_lasts(
    services: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of all processes of a system, and the figure made of them."""
    monkeypatch.setattr(open_loop, "SAMPLE_S", 0.01)
    with open_loop.watching(open_loop.processes(services)) as samples:
        while len(samples) < 3:
            services.middle.get("/healthz")

    assert all(size > 100 * 2**20 for _, size in samples)
    assert "memory" in open_loop.memory(samples).name
