"""The report of a run: figures with their targets, tables of figures, and the result file."""

import platform
import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.turns import Runs
from common.config import Config
from devtools.machine import git, machine

PACKAGES = (
    *("Flask", "gunicorn", "waitress", "granian", "numpy", "hnswlib", "faiss-cpu", "tokenizers"),
    *("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch", "open_clip_torch"),
)
RATIO = "ratio"
MET = {True: "yes", False: "**no**", None: ""}


class Figure(msgspec.Struct, frozen=True):
    """The median of a contender's rounds, with a target or without."""

    section: str
    name: str  # the row of the section's table
    measure: str  # the column: a quantity with its unit
    value: float
    runs: list[float] = []
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def target(self) -> tuple[str, bool | None]:
        """The target in words, and whether the value meets the target; None without a target."""
        if self.at_least is not None:
            return f">= {self.at_least:g}", self.value >= self.at_least
        if self.at_most is not None:
            return f"<= {self.at_most:g}", self.value <= self.at_most
        return "", None

    @property
    def cell(self) -> str:
        """The value and its note; bold if the value misses its target."""
        text = f"{self.value:.4g}{f' ({self.note})' if self.note else ''}"
        return f"**{text}**" if self.target[1] is False else text


def median(section: str, name: str, measure: str, runs: Sequence[float], **more: Any) -> Figure:
    """The figure of several rounds: their median."""
    return Figure(section, name, measure, statistics.median(runs), list(runs), **more)


def ratio(
    section: str, runs: Runs, name: str, to: str, at_least: float | None = None
) -> list[Figure]:
    """The ratio of two contenders' rates, round by round; empty if a contender was left out."""
    if name not in runs or to not in runs:
        return []
    pairs = zip(runs[name], runs[to], strict=True)
    ratios = [theirs.rate and ours.rate / theirs.rate for ours, theirs in pairs]
    return [median(section, f"{name} / {to}", RATIO, ratios, at_least=at_least)]


def figures(section: str, runs: Runs, unit: str = "queries/s") -> list[Figure]:
    """The rate of each contender; over HTTP also latency, errors, recall and CPU time."""
    found = []
    for name, measured in runs.items():
        found.append(median(section, name, unit, [run.rate for run in measured]))
        if measured[0].errors is None:
            continue
        errors = sum(run.errors or 0 for run in measured)
        found += [
            median(section, name, "p50 ms", [run.p50_ms for run in measured]),
            median(section, name, "p99 ms", [run.p99_ms for run in measured]),
            Figure(section, name, "errors", errors, at_most=0),
        ]
        if recalls := [run.recall for run in measured if run.recall is not None]:
            found.append(median(section, name, "recall@10", recalls))
        for service in measured[0].cpu_ms:
            costs = [run.cpu_ms[service] for run in measured]
            found.append(median(section, name, f"CPU ms, {service}", costs))
    return found


def tables(found: Sequence[Figure]) -> str:
    """Markdown: a table for each section, then a table of all ratios and targets."""
    parts, counts = [], Counter((figure.section, figure.name) for figure in found)
    for section in dict.fromkeys(figure.section for figure in found):
        mine = [each for each in found if each.section == section and each.measure != RATIO]
        # A row whose only cell has a target is a line of the table of targets.
        mine = [each for each in mine if not each.target[0] or counts[section, each.name] > 1]
        columns = list(dict.fromkeys(figure.measure for figure in mine))
        cells = {(figure.name, figure.measure): figure.cell for figure in mine}
        names = dict.fromkeys(figure.name for figure in mine)
        rows = [[name, *(cells.get((name, column), "") for column in columns)] for name in names]
        parts.append(_table([section, *columns], rows))
    targets = [
        [f"{each.section}: {each.name}: {each.measure}", each.cell, target, MET[is_met]]
        for each in found
        for target, is_met in [each.target]
        if each.measure == RATIO or (target and each.measure != "errors")
    ]
    titles = ["ratio (by round) or target", "value", "target", "met"]
    return "\n\n".join([*parts, _table(titles, targets)])


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, marks, *rows))


def write(
    kind: str, found: Sequence[Figure], settings: dict[str, Any], config: Config, folder: Path
) -> Path:
    """Write the result file, named by date, commit and kind; returns its path."""
    now, commit = datetime.now(UTC), git("rev-parse", "--short", "HEAD") or "unknown"
    versions = {each.name: each.version for each in distributions() if each.name in PACKAGES}
    document = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions},
        "settings": settings,
        "config": config,
        "results": found,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{commit}-{kind}.json"
    encoded = msgspec.json.encode(document, enc_hook=str)
    path.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")
    return path
