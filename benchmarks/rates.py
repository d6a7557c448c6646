"""Images and texts a second: what was measured of each runtime, and the table of it."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

Tower = Literal["image", "text"]
EAGER = "torch eager"


class Scenario(msgspec.Struct, frozen=True):
    """One tower of a model, run in batches of one size."""

    model: str
    runtime: str
    precision: str
    tower: Tower
    batch: int
    padded: bool = False
    """Whether texts were padded to the model's context, as open_clip's own tokenizer does."""

    @property
    def row(self) -> tuple[str, str]:
        """The row of the table that it belongs to: the model, and what runs it."""
        return self.model, f"{self.runtime} {self.precision}{', padded' * self.padded}"

    @property
    def reference(self) -> "Scenario":
        """The same, run by torch as people run it today."""
        return replace(self, runtime=EAGER, precision="fp32", padded=False)


class Rate(msgspec.Struct, frozen=True):
    """Items a second, medians of the rounds; a ratio is that of two figures of one round."""

    scenario: Scenario
    per_s: float
    of_eager: float | None
    """How many times torch eager in fp32; None for a model without torch's weights."""
    of_matmul: float | None
    """Of the card's measured float16 matmul rate, where there is one."""
    rounds: list[float]


def summarize(
    rounds: Mapping[Scenario, Sequence[float]], matmuls_per_s: Mapping[str, float]
) -> list[Rate]:
    """The rate of each scenario; `matmuls_per_s`: of each model, the images a second that the
    card would embed if all it did were matmul at its full rate."""
    rates = []
    for scenario, measured in rounds.items():
        per_s = statistics.median(measured)
        eager = rounds.get(scenario.reference)
        most = matmuls_per_s.get(scenario.model) if scenario.tower == "image" else None
        rates.append(
            Rate(
                scenario,
                round(per_s, 2),
                round(_median_ratio(measured, eager), 3) if eager else None,
                round(per_s / most, 4) if most else None,
                [round(rate, 2) for rate in measured],
            )
        )
    return rates


def _median_ratio(rates: Sequence[float], references: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(rates, references, strict=True))


def table(rates: Sequence[Rate]) -> str:
    """The rates as a markdown table, a row for each model and runtime."""
    columns = list(dict.fromkeys((one.scenario.tower, one.scenario.batch) for one in rates))
    rows: dict[tuple[str, str], dict[tuple[Tower, int], str]] = {}
    for one in rates:
        cells = rows.setdefault(one.scenario.row, {})
        cells[one.scenario.tower, one.scenario.batch] = _cell(one)
    titles = [f"{tower}s/s, batch {batch}" for tower, batch in columns]
    lines = [["model", "runtime", *titles], ["---", "---", *["---:"] * len(columns)]]
    lines += [[*row, *(cells.get(column, "") for column in columns)] for row, cells in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(rate: Rate) -> str:
    figure = f"{rate.per_s:.{0 if rate.per_s >= 100 else 1}f}"
    notes = [f"{rate.of_eager:.2f}x"] if rate.of_eager is not None else []
    if rate.of_matmul is not None:
        notes.append(f"{rate.of_matmul:.1%}")
    return f"{figure} ({', '.join(notes)})" if notes else figure
