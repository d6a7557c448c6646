"""What a benchmark hands on: who takes turns under load, and figures beside their targets."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

import msgspec

from benchmarks.drivers import Measured
from common.errors import ConfigError

Load = Callable[[], Measured]
"""One timed run of what has been started; it is called once in each round."""


class Contender(NamedTuple):
    """One way of answering queries, started once and then measured in turn with the others."""

    name: str
    start: Callable[[], AbstractContextManager[Load]]
    """Raises ConfigError (MissingPackage) with the reason where it cannot be had here."""


class Figure(msgspec.Struct, frozen=True):
    """A median of interleaved runs and, where something was aimed at, whether it got there."""

    section: str
    name: str
    value: float
    unit: str
    runs: list[float] = []
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """What was aimed at, in words; empty where nothing was."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


def take_turns(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Measured]]:
    """Start all that can be had, and measure them in turn; print why the others cannot."""
    with ExitStack() as stack:
        loads: dict[str, Load] = {}
        for one in contenders:
            try:
                loads[one.name] = stack.enter_context(one.start())
            except ConfigError as error:
                print(f"left out: {one.name}: {error}", flush=True)
        runs: dict[str, list[Measured]] = {name: [] for name in loads}
        for number in range(rounds):
            for name, measure in loads.items():
                runs[name].append(measure())
                print(f"round {number + 1}: {name}: {runs[name][-1]}", flush=True)
    return runs


def ratio(runs: Mapping[str, Sequence[float]], name: str, to: str) -> list[float]:
    """The ratio of two contenders' figures in each round, so that one round's noise meets both."""
    return [a / b for a, b in zip(runs[name], runs[to], strict=True)]


def median_figure(
    section: str, name: str, runs: Sequence[float], unit: str, **more: object
) -> Figure:
    """The figure of some runs: their median."""
    return Figure(section, name, statistics.median(runs), unit, list(runs), **more)  # type: ignore[arg-type]


def table(figures: Sequence[Figure]) -> str:
    """The figures as markdown, a row each."""
    lines = ["| | figure | unit | target | met |", "| --- | ---: | --- | ---: | --- |"]
    for one in figures:
        met = {True: "yes", False: "**no**", None: ""}[one.is_met]
        name = f"{one.section}: {one.name}{f' ({one.note})' if one.note else ''}"
        lines.append(f"| {name} | {one.value:.4g} | {one.unit} | {one.target} | {met} |")
    return "\n".join(lines)
