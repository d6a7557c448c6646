"""What a benchmark leaves: the file that is kept, and the table of a load test."""

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.drivers import Measured
from common.config import CHECKOUT, Config

RESULTS = CHECKOUT / "benchmarks/results"
PACKAGES = (
    *("Flask", "gunicorn", "waitress", "numpy", "hnswlib", "tokenizers"),
    *("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch", "open_clip_torch"),
)


class Scenario(msgspec.Struct, frozen=True):
    """What is measured: the same, each time that it is run."""

    name: str
    driver: str
    servers: int = 0


class Result(msgspec.Struct, frozen=True):
    """A scenario and its medians; errors are those of all runs."""

    scenario: Scenario
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    recall_at_10: float | None
    share_of_hello: float
    runs: list[Measured]


def summarize(
    runs: dict[Scenario, list[Measured]], recalls: dict[Scenario, list[float]], hello: Scenario
) -> list[Result]:
    """The result of each scenario, in the order in which they were first run."""
    base = statistics.median(run.requests_per_s for run in runs[hello])
    results = []
    for scenario, measured in runs.items():
        rate = statistics.median(run.requests_per_s for run in measured)
        found = recalls.get(scenario)
        results.append(
            Result(
                scenario,
                round(rate, 1),
                round(statistics.median(run.p50_ms for run in measured), 1),
                round(statistics.median(run.p99_ms for run in measured), 1),
                sum(run.errors for run in measured),
                round(statistics.fmean(found), 4) if found else None,
                round(rate / base, 3),
                measured,
            )
        )
    return results


def table(results: Sequence[Result]) -> str:
    """The results as text, a line each."""
    lines = [
        f"{'scenario':46}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}"
        f"{'recall@10':>11}{'of hello':>10}"
    ]
    for one in results:
        recall = "" if one.recall_at_10 is None else f"{one.recall_at_10:.3f}"
        lines.append(
            f"{one.scenario.name:46}{one.requests_per_s:9.1f}{one.p50_ms:9.1f}{one.p99_ms:9.1f}"
            f"{one.errors:8}{recall:>11}{one.share_of_hello:10.3f}"
        )
    return "\n".join(lines)


def write(
    kind: str,
    results: Sequence[msgspec.Struct],
    settings: dict[str, Any],
    config: Config,
    folder: Path = RESULTS,
) -> Path:
    """Write the result file of this kind, moment and commit; returns its path."""
    now, commit = datetime.now(UTC), _git("rev-parse", "--short", "HEAD") or "unknown"
    document = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | _versions(),
        "settings": settings,
        "config": config,
        "results": results,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{commit}-{kind}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def machine() -> dict[str, Any]:
    """What the numbers depend on most; what this system does not tell is null."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "kernel": platform.release(),
    }


def _versions() -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str:
    """What git says of the checkout; empty when there is no git or no repository."""
    program = shutil.which("git")
    if not program:
        return ""
    done = subprocess.run(
        [program, *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
