"""Replicas that die, hang, crawl or talk nonsense: every answer is checked against brute force."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.collection import Collection
from devtools.fault_proxy import GOOD, Fault
from devtools.oracle import Outcomes, checked_load
from devtools.replica_cluster import Replicated, replicated
from devtools.services import hanging, metric, wait_until

RATE = 40.0
LATE_MS = 10_000.0
"""Of a busy machine; how late answers are is measured by `make chaos`."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """120 images in two shards."""
    return Collection(tmp_path_factory.mktemp("collection"), images=120, shards=2)


@pytest.fixture(scope="module")
def twins(collection: Collection) -> Iterator[Replicated]:
    """Two replicas of each shard."""
    with replicated(collection, shards=2, replicas=2, deadline_ms=2000) as services:
        yield services


def loaded(services: Replicated, seconds: float) -> Outcomes:
    """What became of the queries of some seconds; none was wrong."""
    with checked_load(services.middle.address, services.truth, RATE, LATE_MS) as outcomes:
        time.sleep(seconds)
    assert [] == outcomes.wrong + outcomes.late
    return outcomes


def test_a_killed_replica_costs_no_answer_and_comes_back(twins: Replicated) -> None:
    """Row 1: SIGKILL under load; its twin answers all, and it is asked again when it is back."""
    with checked_load(twins.middle.address, twins.truth, RATE, LATE_MS) as outcomes:
        time.sleep(1)
        twins.replicas[0][0].kill()
        time.sleep(2)
        twins.restart(0, 0)
        twins.until_in(0, 0)
        passed = twins.proxies[0][0].passed_bytes
        wait_until(lambda: twins.proxies[0][0].passed_bytes > passed + 20_000)

    assert [] == outcomes.wrong
    assert {"full"} == set(outcomes.counts)


def test_a_dead_shard_is_told_and_refused_where_all_are_required(twins: Replicated) -> None:
    """Row 2: both replicas killed; 200 with half the index, or 503."""
    for number in (0, 1):
        twins.replicas[1][number].kill()
    answer = twins.middle.post("/search", {"text": "red"})
    strict = twins.middle.request("POST", "/search", json={"text": "red", "require_full": True})
    outcomes = loaded(twins, 2)
    for number in (0, 1):
        twins.restart(1, number)
    twins.until_in(1, 0)
    twins.until_in(1, 1)

    assert {"total": 2, "ok": 1, "timeout": 0, "failed": 1} == answer["coverage"]["shards"]
    assert 0.5 == answer["coverage"]["fraction"]
    assert (503, "insufficient_coverage") == (strict.status, strict.json()["code"])
    assert {"degraded"} == set(outcomes.counts)
    assert {"full"} == set(loaded(twins, 1).counts)


def test_a_replica_that_hangs_is_hedged(twins: Replicated) -> None:
    """Row 3: SIGSTOP; its twin answers for it, so that every answer is full."""
    loaded(twins, 1)
    with hanging(twins.replicas[0][0]):
        outcomes = loaded(twins, 3)
    twins.until_in(0, 0)

    assert {"full"} == set(outcomes.counts)
    assert metric(twins.middle, 'extra_requests_total{server="search-0",why="hedge"}')


def test_a_shard_that_hangs_is_waited_for_once(twins: Replicated) -> None:
    """Row 4: both replicas stopped; degraded at the deadline, then at once, then whole again."""
    with hanging(twins.replicas[1][0]), hanging(twins.replicas[1][1]):
        first = loaded(twins, 2)
        wait_until(lambda: twins.is_out(1, 0) and twins.is_out(1, 1))
        answer = twins.middle.post("/search", {"text": "red"})
    twins.until_in(1, 0)
    twins.until_in(1, 1)

    assert {"degraded"} == set(first.counts)
    assert 1 == answer["coverage"]["shards"]["timeout"]
    assert answer["took_ms"]["total"] < 2000  # the deadline: it was not waited for
    assert {"full"} == set(loaded(twins, 1).counts)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(latency_s=0.3),
        Fault(reset_after=100),
        Fault(close_after=150),
        Fault(refuse=True),
        Fault(black_hole=True),
        Fault(bytes_per_s=20_000),
        Fault(flip_every=3000),
    ],
    ids=["late", "reset", "half", "refused", "mute", "slow", "flipped"],
)
def test_a_bad_way_to_one_replica_costs_no_answer(twins: Replicated, fault: Fault) -> None:
    """Rows 6 and 7: whatever the network does to one, its twin answers; nothing half is merged."""
    twins.proxies[0][1].fault = fault
    try:
        outcomes = loaded(twins, 3)
    finally:
        twins.proxies[0][1].fault = GOOD
    twins.until_in(0, 1)

    assert set(outcomes.counts) <= {"full", "degraded"}
    assert outcomes.counts["full"] >= 0.95 * outcomes.counts.total()


def test_the_slower_replica_is_asked_less(twins: Replicated) -> None:
    """Row 6: 300 ms more for one of two, and traffic goes to its twin."""
    twins.proxies[0][0].fault = Fault(latency_s=0.3)
    loaded(twins, 2)
    before = [proxy.passed_bytes for proxy in twins.proxies[0]]
    loaded(twins, 3)
    slow, quick = [
        proxy.passed_bytes - was for proxy, was in zip(twins.proxies[0], before, strict=True)
    ]
    twins.proxies[0][0].fault = GOOD

    assert quick > 2 * slow  # on idle cores far more; on busy ones its twin has slow moments too


def test_replicas_are_restarted_one_by_one_without_an_error(twins: Replicated) -> None:
    """Row 10: SIGTERM, start, next, under load; 20 rounds are `make chaos`'s."""
    with checked_load(twins.middle.address, twins.truth, RATE, LATE_MS) as outcomes:
        for shard, number in ((0, 0), (1, 0), (0, 1), (1, 1)):
            twins.terminate(shard, number)
            twins.restart(shard, number)
            twins.until_in(shard, number)

    assert [] == outcomes.wrong
    assert {"full"} == set(outcomes.counts)


def test_with_all_shards_down_the_answer_comes_at_once(collection: Collection) -> None:
    """Row 5: 503 from a front that is alive and not ready."""
    with replicated(collection, shards=2, replicas=1) as services:
        assert 200 == services.front.request("GET", "/ready").status
        for (server,) in services.replicas:
            server.kill()
        replies = [
            services.front.request("POST", "/v1/search", json={"text": f"red {n}"})
            for n in range(20)
        ]
        ready = services.front.request("GET", "/ready")
        alive = services.front.request("GET", "/healthz")

    assert {(503, "no_shard")} == {(reply.status, reply.json()["code"]) for reply in replies}
    assert all("Retry-After" in reply.headers for reply in replies)
    assert (503, 200) == (ready.status, alive.status)


def test_one_hung_shard_leaves_the_threads_to_others(tmp_path: Path) -> None:
    """Bulkheads: with few threads and a shard that hangs, far more is answered than they wait."""
    collection = Collection(tmp_path, images=40, shards=2)
    with replicated(collection, 2, 1, threads=8, deadline_ms=1000) as services:
        with hanging(services.replicas[1][0]):
            loaded(services, 3)
            outcomes = loaded(services, 3)

    assert {"degraded"} == set(outcomes.counts)
