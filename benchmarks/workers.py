"""Classifying with 4, 12 and 24 workers in front and middle: python benchmarks/workers.py.

All else is the same: one inference server with the starter, and the samples as the collection.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from benchmarks.client import Client, Report, locust, read
from benchmarks.figures import Figure, median_figure, table
from common.config import CHECKOUT
from common.errors import ConfigError
from common.process import run
from devtools.services import cluster, run_command, running, with_section

WORKERS = (4, 12, 24)
ROUNDS = 3
RUN_TIME_S = 8
CONFIG: dict[str, Any] = {
    "Inference": {"clip": "starter", "mclip": None},
    "Prepare": {"images": [str(CHECKOUT / "samples")]},
}


def measure(
    workers: Sequence[int] = WORKERS, rounds: int = ROUNDS, run_time_s: int = RUN_TIME_S
) -> list[Figure]:
    """Requests a second, p99 and failures of /v1/classify; all take turns in each round."""
    runs: dict[int, list[Report]] = {count: [] for count in workers}
    with started(workers) as clients:
        for client in clients.values():
            locust(replace(client, run_time_s=1))  # so that each worker is warm
        for _ in range(rounds):
            for count, client in clients.items():
                runs[count].append(locust(replace(client, run_time_s=run_time_s)))
    return [figure for count, reports in runs.items() for figure in _figures(count, reports)]


@contextmanager
def started(workers: Sequence[int]) -> Iterator[dict[int, Client]]:
    """Start a system for each number of workers, with one inference; gives the client of each."""
    client = replace(read(CHECKOUT / "benchmarks/client.json"), endpoint="classify")
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        done = run_command("prepare/prepare.py", CONFIG, cwd=folder)
        if done.returncode:
            raise ConfigError(f"prepare/prepare.py failed: {done.stderr}")
        config = with_section(CONFIG, "Inference", port=0)
        inference = stack.enter_context(running("inference/inference.py", config, cwd=folder))
        clients = {}
        for count in workers:
            wide = with_section(CONFIG, "Front", workers=count)
            wide = with_section(wide, "Middle", workers=count)
            services = stack.enter_context(cluster(wide, 1, folder, inference=inference))
            clients[count] = replace(client, address=services.front.address)
        yield clients


def _figures(count: int, reports: Sequence[Report]) -> list[Figure]:
    name, section = f"{count} workers", "classify, workers"
    note = f"{sum(report.failures for report in reports)} failures"
    rates = [report.requests_per_s for report in reports]
    lates = [report.p99_ms for report in reports]
    return [
        median_figure(section, name, rates, "req/s", note=note),
        median_figure(section, f"{name}, p99", lates, "ms"),
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--seconds", type=int, default=RUN_TIME_S, metavar="S", help="of each load")
    arguments = parser.parse_args()
    if min(*arguments.workers, arguments.rounds, arguments.seconds) < 1:
        parser.error("every number is 1 at least")
    print(f"load average before: {os.getloadavg()[0]:.1f}", flush=True)
    print(table(measure(arguments.workers, arguments.rounds, arguments.seconds)))


if __name__ == "__main__":
    run(main)
