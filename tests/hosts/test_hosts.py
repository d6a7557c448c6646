"""Four hosts: one is cut off, all are restarted, servers come and go, the name server is silent.

`make hosts` tries every order in which servers can be added and removed; the usual run one.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, permutations

import pytest

from devtools.collection import Collection
from devtools.oracle import Outcomes, Truth, checked_load
from devtools.services import Service
from tests.hosts.network import need_namespaces
from tests.hosts.system import SHARDS, System, replicas, system

IS_LONG = bool(os.environ.get("ALL_ORDERS"))
DEADLINE_MS = 2000 if IS_LONG else 10_000
"""In the usual run other tests take the cores, and how late answers are is not measured."""
RATE = 20.0 if IS_LONG else 5.0
LATE_MS = DEADLINE_MS + (100.0 if IS_LONG else 20_000.0)
FULL_SHARE = 0.95 if IS_LONG else 0.8
"""Of the answers while a host is lost; on busy cores all is slow, and the budget is soon spent."""
GROWTH = [
    order for order in permutations(("new", "first", "middle", "second")) if order[3] == "second"
]
"""The orders of growing. The last replica of the old list goes last: a shard needs a holder."""
SHRINKING = [
    order for order in permutations(("first", "second", "middle", "old")) if order[0] == "first"
]
"""The orders of shrinking: before anything else, somebody must hold what the last server holds."""
ORDERS = list(zip(GROWTH, SHRINKING, strict=True))[: None if IS_LONG else 1]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """120 images in 12 shards."""
    need_namespaces()
    return Collection(tmp_path_factory.mktemp("hosts"), images=120, shards=SHARDS)


@pytest.fixture(scope="module")
def hosts(collection: Collection) -> Iterator[System]:
    """Three search servers and two of all others but front, each on another host."""
    with system(collection, DEADLINE_MS) as running:
        yield running


@contextmanager
def loaded(hosts: System, collection: Collection) -> Iterator[Outcomes]:
    """Ask for vectors and texts while the block runs: each answer is right, in time and honest."""
    address, truth = hosts.front.address, Truth(collection, SHARDS)
    with checked_load(address, truth, RATE, LATE_MS, "/v1/search") as outcomes:
        with texts(hosts.front, outcomes):
            time.sleep(0.5)
            yield outcomes
            time.sleep(0.5)
    assert [] == outcomes.wrong + outcomes.late, hosts.said()


@contextmanager
def whole(hosts: System, collection: Collection) -> Iterator[None]:
    """The same, and each answer is whole."""
    with loaded(hosts, collection) as outcomes:
        yield
    assert {"full"} == set(outcomes.counts), (outcomes.counts, outcomes.codes, hosts.said())


@contextmanager
def texts(front: Service, outcomes: Outcomes) -> Iterator[None]:
    """Ask for texts, one after the other, and count the answers."""
    ended = threading.Event()

    def ask() -> None:
        for number in count():
            if ended.wait(0.1):
                return
            query = {"text": f"red {number}"}
            reply = front.request("POST", "/v1/search", json=query)
            if reply.status == 200:
                is_degraded = reply.json()["coverage"]["degraded"]
                outcomes.counts["degraded" if is_degraded else "full"] += 1
            else:
                outcomes.counts["refused"] += 1
                outcomes.codes[reply.json()["code"]] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("number", [0, 1, 2] if IS_LONG else [1])
def test_a_host_that_is_cut_off_costs_no_answer(
    hosts: System, collection: Collection, number: int
) -> None:
    """It has two search servers, a middle or an inference server or both; others answer.

    The hedges have a budget: where that is spent, an answer may say that it lacks a shard.
    """
    with loaded(hosts, collection) as outcomes:
        hosts.hosts[number].cut()
        try:
            time.sleep(4)
        finally:
            hosts.hosts[number].join()
        time.sleep(1)

    assert outcomes.counts["full"] >= FULL_SHARE * outcomes.counts.total(), outcomes


def test_a_silent_name_server_costs_no_answer(hosts: System, collection: Collection) -> None:
    """Also when a server restarts meanwhile, to which all connections are new."""
    hosts.names.is_silent = True
    try:
        with whole(hosts, collection):
            asked = hosts.names.asked
            hosts.roll("search-0-0")
            time.sleep(6)
    finally:
        hosts.names.is_silent = False

    assert hosts.names.asked > asked


@pytest.mark.parametrize(("growth", "shrinking"), ORDERS)
def test_servers_come_and_go_without_a_degraded_answer(
    hosts: System, collection: Collection, growth: tuple[str, ...], shrinking: tuple[str, ...]
) -> None:
    """From three to four and back. Each step waits for /ready, and for nothing else."""
    for servers, steps in ((4, growth), (3, shrinking)):
        for step in steps:
            with whole(hosts, collection):
                act(hosts, step, servers)


def act(hosts: System, step: str, servers: int) -> None:
    """One step of growing or shrinking to so many servers."""
    fourth = "search-3-0", "search-3-1"
    if step == "new":
        hosts.start(*fourth, servers=servers)
    elif step == "old":
        hosts.stop(*fourth)
    elif step == "middle":
        for name in ("middle-0", "middle-1"):
            hosts.roll(name, servers=servers)
    else:
        hosts.roll(*replicas(("first", "second").index(step), 3), servers=servers)


@pytest.mark.skipif(not IS_LONG, reason="`make hosts` restarts all, 40 s")
def test_all_are_restarted_without_a_degraded_answer(hosts: System, collection: Collection) -> None:
    """One after the other, each after /ready."""
    with whole(hosts, collection):
        for name in list(hosts.services):
            if name != "front" and not name.startswith("search-3"):
                hosts.roll(name)
