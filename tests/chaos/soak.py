"""Random faults, one after the other, under a load whose every answer is checked."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from devtools.fault_proxy import GOOD, Fault
from devtools.memory import resident_bytes
from devtools.oracle import Outcomes, checked_load
from devtools.replica_cluster import Replicated, descriptors
from devtools.services import Service

WAYS = (
    Fault(latency_s=0.3),
    Fault(latency_s=0.05, jitter_s=0.05),
    Fault(black_hole=True),
    Fault(refuse=True),
    Fault(reset_after=100),
    Fault(close_after=150),
    Fault(bytes_per_s=20_000),
    Fault(flip_every=3000),
)
FAULT_S = (0.5, 3.0)
CALM_S = (0.2, 2.0)
DEADLINE_MS = 2000


@dataclass
class Soaked:
    """What a soak came to."""

    outcomes: Outcomes
    faults: Counter[str] = field(default_factory=Counter)
    memory: dict[str, float] = field(default_factory=dict)
    """Of front, middle and inference, over what it was at the start."""
    descriptors: dict[str, int] = field(default_factory=dict)
    """And how many more files and sockets they have open."""


def soak(services: Replicated, seconds: float, rate: float, seed: int = 0) -> Soaked:
    """Befall a replica with something every other second; after each it is made whole again."""
    choose = random.Random(seed)
    steady = {"front": services.front, "middle": services.middle, "inference": services.inference}
    within_ms = DEADLINE_MS + 100
    with checked_load(services.middle.address, services.truth, rate, within_ms):
        time.sleep(min(5.0, seconds / 4))  # what is made once is made
    time.sleep(1)
    before = {name: _size(service) for name, service in steady.items()}
    with checked_load(services.middle.address, services.truth, rate, within_ms) as outcomes:
        soaked = Soaked(outcomes)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            befall = choose.choice((_kill, _terminate, _hang, _hang_shard, _spoil, _spoil_shard))
            befall(services, choose)
            soaked.faults[befall.__name__.strip("_")] += 1
            time.sleep(choose.uniform(*CALM_S))
        time.sleep(3)
    time.sleep(1)
    after = {name: _size(service) for name, service in steady.items()}
    for name, (memory, files) in after.items():
        soaked.memory[name] = round(memory / before[name][0], 3)
        soaked.descriptors[name] = files - before[name][1]
    return soaked


def rolling_restarts(services: Replicated, rounds: int, rate: float) -> Outcomes:
    """SIGTERM each replica in turn and start it anew, so many rounds, under load."""
    within_ms = DEADLINE_MS + 100
    with checked_load(services.middle.address, services.truth, rate, within_ms) as outcomes:
        for _ in range(rounds):
            for shard, row in enumerate(services.replicas):
                for number in range(len(row)):
                    services.terminate(shard, number)
                    services.restart(shard, number)
                    services.until_in(shard, number)
    return outcomes


def _size(service: Service) -> tuple[int, int]:
    return resident_bytes([service.process.pid]), descriptors(service.process.pid)


Choose = random.Random
Befall = Callable[[Replicated, Choose], None]


def _any(services: Replicated, choose: Choose) -> tuple[int, int]:
    shard = choose.randrange(len(services.replicas))
    return shard, choose.randrange(len(services.replicas[shard]))


def _kill(services: Replicated, choose: Choose) -> None:
    shard, number = _any(services, choose)
    services.replicas[shard][number].kill()
    time.sleep(choose.uniform(*FAULT_S))
    services.restart(shard, number)


def _terminate(services: Replicated, choose: Choose) -> None:
    shard, number = _any(services, choose)
    services.terminate(shard, number)
    services.restart(shard, number)


def _stop(stopped: list[Service], choose: Choose) -> None:
    for service in stopped:
        service.process.send_signal(signal.SIGSTOP)
    time.sleep(choose.uniform(*FAULT_S))
    for service in stopped:
        service.process.send_signal(signal.SIGCONT)


def _hang(services: Replicated, choose: Choose) -> None:
    shard, number = _any(services, choose)
    _stop([services.replicas[shard][number]], choose)


def _hang_shard(services: Replicated, choose: Choose) -> None:
    _stop(choose.choice(services.replicas), choose)


def _spoil(services: Replicated, choose: Choose) -> None:
    shard, number = _any(services, choose)
    services.proxies[shard][number].fault = choose.choice(WAYS)
    time.sleep(choose.uniform(*FAULT_S))
    services.proxies[shard][number].fault = GOOD


def _spoil_shard(services: Replicated, choose: Choose) -> None:
    row = services.proxies[choose.randrange(len(services.proxies))]
    for proxy in row:
        proxy.fault = choose.choice(WAYS)
    time.sleep(choose.uniform(*FAULT_S))
    for proxy in row:
        proxy.fault = GOOD
