"""Each fault of a replica or a shard by itself, for the figures in docs/reliability.md."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from devtools.fault_proxy import GOOD, Fault
from devtools.oracle import Outcomes, checked_load
from devtools.replica_cluster import Replicated
from devtools.services import hanging, metric
from tests.chaos.soak import DEADLINE_MS


@contextmanager
def killed(services: Replicated, numbers: tuple[int, ...]) -> Iterator[None]:
    """Replicas of the first shard are dead, then started anew."""
    for number in numbers:
        services.replicas[0][number].kill()
    yield
    for number in numbers:
        services.restart(0, number)


@contextmanager
def hung(services: Replicated, numbers: tuple[int, ...]) -> Iterator[None]:
    """Replicas of the first shard take connections and do nothing."""
    with ExitStack() as stack:
        for number in numbers:
            stack.enter_context(hanging(services.replicas[0][number]))
        yield


@contextmanager
def spoilt(services: Replicated, fault: Fault) -> Iterator[None]:
    """The way to one replica of the first shard is bad."""
    services.proxies[0][0].fault = fault
    yield
    services.proxies[0][0].fault = GOOD


def measure(
    services: Replicated, seconds: float, rate: float
) -> Iterator[tuple[str, Outcomes, float]]:
    """Row and name of each fault, what became of the queries while it lasted, and how many
    requests were in middle's hands at most."""
    faults: dict[str, AbstractContextManager[object]] = {
        "no fault": nullcontext(),
        "1 kill one of two replicas": killed(services, (0,)),
        "2 kill both": killed(services, (0, 1)),
        "3 one replica hangs": hung(services, (0,)),
        "4 both hang": hung(services, (0, 1)),
        "6 one is 300 ms late": spoilt(services, Fault(latency_s=0.3)),
        "7 connections reset in a reply": spoilt(services, Fault(reset_after=100)),
        "7 half a reply": spoilt(services, Fault(close_after=150)),
        "7 replies changed on the way": spoilt(services, Fault(flip_every=3000)),
        "7 nothing comes": spoilt(services, Fault(black_hole=True)),
    }
    for name, fault in faults.items():
        most = 0.0
        address = services.middle.address
        with checked_load(address, services.truth, rate, DEADLINE_MS + 100) as outcomes:
            with fault:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    most = max(most, metric(services.middle, 'in_flight{service="middle"}'))
                    time.sleep(0.1)
        for number in (0, 1):
            services.until_in(0, number)
        yield name, outcomes, most
