"""Contenders take turns under load; the CPU time of an answer in each service."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import NamedTuple

from common.errors import ConfigError
from devtools import loads
from devtools.process_tree import cpu_seconds

Load = Callable[[], loads.Measured]  # one timed run; each round calls it once
Runs = dict[str, list[loads.Measured]]  # by contender, round by round


class Contender(NamedTuple):
    """A system under test. It is started once and measured in each round."""

    name: str
    start: Callable[[], AbstractContextManager[Load]]
    """Raises ConfigError with the reason if the system cannot run on this machine."""


def started(name: str, load: Load) -> Contender:
    """A contender that the caller starts and stops."""
    return Contender(name, lambda: nullcontext(load))


def take_turns(contenders: Sequence[Contender], rounds: int, idle_s: float) -> Runs:
    """Start all contenders and measure them in turn, once cores are idle or after `idle_s`."""
    with ExitStack() as stack:
        running: dict[str, Load] = {}
        for contender in contenders:
            try:
                running[contender.name] = stack.enter_context(contender.start())
            except ConfigError as error:
                print(f"left out: {contender.name}: {error}", flush=True)
        runs: Runs = {name: [] for name in running}
        for number in range(rounds):
            for name, load in running.items():
                loads.wait_until_idle(idle_s)
                runs[name].append(load())
                print(f"round {number + 1}: {name}: {runs[name][-1]}", flush=True)
    return runs


def with_cpu(load: Load, pids: Mapping[str, Sequence[int]]) -> Load:
    """The load, with the CPU time of an answer in each service and in all."""

    def measure() -> loads.Measured:
        before = {service: cpu_seconds(pids[service]) for service in pids}
        run = load()
        answers = max(1, run.answers + run.checked)
        spent_s = {service: cpu_seconds(pids[service]) - before[service] for service in pids}
        spent_s["all"] = sum(spent_s.values())
        return run._replace(cpu_ms={name: 1000 * spent_s[name] / answers for name in spent_s})

    return measure
