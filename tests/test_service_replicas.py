"""Two middles and two inference servers: one that dies, hangs or crawls costs no answer."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.collection import Collection
from devtools.fault_proxy import GOOD, Fault, Proxy, proxied
from devtools.oracle import Outcomes, Truth, checked_load
from devtools.services import (
    Service,
    hanging,
    kill_with_workers,
    metric,
    running,
    wait_until,
    with_section,
)
from middle.client import MiddleClient

RATE = 40.0
LATE_MS = 10_000.0
"""Of a busy machine; how late answers are is measured by `make chaos`."""
FRESH = {"Cache-Control": "no-cache"}


@dataclass
class Twins:
    """Two of each, behind proxies, one search server, and a front that knows both middles."""

    folder: Path
    config: dict[str, Any]
    truth: Truth
    services: dict[str, list[Service]]
    proxies: dict[str, list[Proxy]]
    front: Service
    stack: ExitStack

    def restart(self, section: str, number: int) -> None:
        """Start one that has gone, on another port, behind the same proxy."""
        service = self.stack.enter_context(one_of(section, self.config, self.folder))
        self.services[section][number] = service
        self.proxies[section][number].target = service.address

    def text_hits(self, text: str) -> list[str]:
        """The images that a text finds, from no cache; the answer must be whole."""
        reply = self.front.request(
            "POST", "/v1/search", json={"text": text}, headers={**FRESH, "X-Deadline-Ms": "4000"}
        )
        assert reply.status == 200, reply.data
        return [hit["id"] for hit in reply.json()["hits"]]


@contextmanager
def one_of(section: str, config: dict[str, Any], folder: Path) -> Iterator[Service]:
    """A middle or an inference server on a port of its own."""
    name = section.lower()
    alone = with_section(config, section, port=0, server_list=[])
    with running(f"{name}/{name}.py", alone, cwd=folder) as service:
        yield service


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """120 images in two shards of one server, two of all that stands before it."""
    collection = Collection(tmp_path_factory.mktemp("twins"), images=120, shards=2)
    folder = collection.folder
    with ExitStack() as stack:
        config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"])
        config = with_section(config, "Search", ef_search=1000)
        config = with_section(config, "Middle", cache="off", deadline_ms=4000)
        config = with_section(config, "Front", port=0)
        search = stack.enter_context(
            running("search/search.py", config, "--index", "0,1", cwd=folder)
        )
        config = with_section(config, "Search", server_list=[search.address])
        services: dict[str, list[Service]] = {}
        proxies: dict[str, list[Proxy]] = {}
        for section in ("Inference", "Middle"):
            started = [stack.enter_context(one_of(section, config, folder)) for _ in range(2)]
            before = [stack.enter_context(proxied(service.address)) for service in started]
            services[section], proxies[section] = started, before
            addresses = [proxy.address for proxy in before]
            config = with_section(config, section, server_list=addresses)
        front = stack.enter_context(running("front/front.py", config, cwd=folder))
        yield Twins(folder, config, Truth(collection, 2), services, proxies, front, stack)


@contextmanager
def loaded(twins: Twins) -> Iterator[Outcomes]:
    """Queries by vector while the block runs: none may be wrong, late, or not whole."""
    address = twins.front.address
    with checked_load(address, twins.truth, RATE, LATE_MS, "/v1/search") as outcomes:
        yield outcomes
    assert [] == outcomes.wrong + outcomes.late
    assert {"full"} == set(outcomes.counts), outcomes.codes


def test_a_killed_middle_costs_no_answer_and_comes_back(twins: Twins) -> None:
    """Row 23: SIGKILL of one of two under load; the other answers, and it is asked again."""
    with loaded(twins):
        time.sleep(1)
        kill_with_workers(twins.services["Middle"][0])
        time.sleep(2)
        twins.restart("Middle", 0)
        passed = twins.proxies["Middle"][0].passed_bytes
        wait_until(lambda: twins.proxies["Middle"][0].passed_bytes > passed + 20_000)


def test_a_middle_that_hangs_costs_no_answer(twins: Twins) -> None:
    """Row 23: SIGSTOP of all its processes; the other middle answers for it."""
    with loaded(twins):
        time.sleep(1)
        with hanging(twins.services["Middle"][1]):
            time.sleep(3)
        time.sleep(1)


@pytest.mark.parametrize(
    "fault",
    [Fault(latency_s=0.3), Fault(reset_after=100), Fault(close_after=150), Fault(refuse=True)],
    ids=["late", "reset", "half", "refused"],
)
def test_a_bad_way_to_one_middle_costs_no_answer(twins: Twins, fault: Fault) -> None:
    """Row 23: whatever the network does to one, the other answers."""
    with loaded(twins):
        time.sleep(0.5)
        twins.proxies["Middle"][0].fault = fault
        try:
            time.sleep(2)
        finally:
            twins.proxies["Middle"][0].fault = GOOD


TEXTS = [f"{color} {number}" for color in ("red", "green", "blue") for number in range(20)]


def test_a_killed_inference_server_costs_no_answer(twins: Twins) -> None:
    """Row 24: SIGKILL of one of two; every text finds what it found before."""
    before = [twins.text_hits(text) for text in TEXTS]
    twins.services["Inference"][0].kill()
    assert before == [twins.text_hits(text) for text in TEXTS]
    twins.restart("Inference", 0)
    proxy = twins.proxies["Inference"][0]
    passed = proxy.passed_bytes
    wait_until(lambda: bool(twins.text_hits("red")) and proxy.passed_bytes > passed)
    assert before == [twins.text_hits(text) for text in TEXTS]


def test_an_inference_server_that_hangs_costs_no_answer(twins: Twins) -> None:
    """Row 24: SIGSTOP of one of two; the other embeds for it."""
    before = [twins.text_hits(text) for text in TEXTS]
    with hanging(twins.services["Inference"][1]):
        hung = [twins.text_hits(text) for text in TEXTS]
    assert before == hung


def test_a_slow_inference_server_costs_no_answer(twins: Twins) -> None:
    """Row 24: 300 ms more for one of two."""
    before = [twins.text_hits(text) for text in TEXTS]
    twins.proxies["Inference"][0].fault = Fault(latency_s=0.3)
    try:
        assert before == [twins.text_hits(text) for text in TEXTS]
    finally:
        twins.proxies["Inference"][0].fault = GOOD


def test_forgetting_reaches_every_middle(twins: Twins) -> None:
    """Each middle has a cache of its own, so each is told to empty it."""
    addresses = [service.address for service in twins.services["Middle"]]
    told = 'requests_total{route="/cache",service="middle",status="204"}'

    async def purge() -> None:
        client = MiddleClient(addresses, 4000)
        await client.purge()
        await client.close()

    asyncio.run(purge())

    assert [1, 1] == [metric(service, told) for service in twins.services["Middle"]]
