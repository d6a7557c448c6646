"""Three times what front can answer, for a minute: python benchmarks/overload.py.

Queries come at random moments, whatever the answers take (see open_loop.py). Good are answers
that come within the deadline; all others must be refused, quickly, and once the load has gone
everything must be well again.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from devtools import open_loop
from benchmarks import drivers, generated
from devtools.open_loop import Reply
from benchmarks.figures import Figure, table
from common.config import load
from common.process import argument_parser, run
from inference.clip.model import load_model
from devtools.services import cluster

SECTION = "overload"
K = 10
PATH = "/v1/search"
AFTER_S = 20
AFTER = 0.5
"""Of the peak rate, once the overload has gone."""
PEAK_S = 20
IN_TIME_MS = 2000
"""The default of Middle.deadline-ms."""


def measure(
    address: str, peak_rate: float, times: float, seconds: float, texts: Iterator[str]
) -> list[Figure]:
    """Send front `times` its peak rate (queries a second) for so long, and then half of it."""
    due = open_loop.draw(times * peak_rate, seconds, texts)
    during = open_loop.send(address, due, K, path=PATH)
    after = open_loop.send(address, open_loop.draw(AFTER * peak_rate, AFTER_S, texts), K, path=PATH)
    return figures(peak_rate, times, seconds, during, after)


def figures(
    peak_rate: float, times: float, seconds: float, during: Sequence[Reply], after: Sequence[Reply]
) -> list[Figure]:
    """What the replies say, those while there was too much and those after it."""
    answered = [one for one in during if one.ok]
    refused = [one for one in during if one.status == 503]
    others = sum(one.status not in (200, 503) for one in (*during, *after))
    late = [one.at_s for one in after if not one.ok]
    goodput = sum(one.latency_ms <= IN_TIME_MS for one in answered) / seconds
    name = f"at {times:g} times the peak rate"
    return [
        Figure(SECTION, "peak rate", peak_rate, "answers/s"),
        Figure(SECTION, f"{name}: answers in time", goodput, "answers/s"),
        Figure(
            SECTION, f"{name}: answers in time, of the peak", goodput / peak_rate, "x", at_least=0.8
        ),
        Figure(SECTION, f"{name}: answered, p50", _percentile(answered, 50), "ms"),
        Figure(
            SECTION, f"{name}: answered, p99", _percentile(answered, 99), "ms", at_most=IN_TIME_MS
        ),
        Figure(SECTION, f"{name}: refused", len(refused) / seconds, "refusals/s"),
        Figure(SECTION, f"{name}: refused, p50", _percentile(refused, 50), "ms"),
        Figure(SECTION, f"{name}: refused, p99", _percentile(refused, 99), "ms"),
        Figure(SECTION, "neither answered nor refused", others, "queries", at_most=0),
        Figure(SECTION, "until all is well again", max(late, default=0.0), "s", at_most=10),
    ]


def _percentile(replies: Sequence[Reply], percentile: float) -> float:
    latencies_ms = [one.latency_ms for one in replies]
    return float(np.percentile(latencies_ms, percentile)) if latencies_ms else 0.0


def main() -> None:
    """Start all services, find the peak, overload them and print the table."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--peak-rate", type=float, metavar="N", help="queries a second (default: what wrk gets)")
    add("--times", type=float, default=3, metavar="X", help="the overload, of the peak rate")
    add("--seconds", type=float, default=60, metavar="S", help="how long it lasts")
    add("--vectors", type=int, default=100_000, metavar="N")
    add("--shards", type=int, default=2, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        print(table(_measure_all(arguments, Path(folder))))


def _measure_all(arguments: argparse.Namespace, folder: Path) -> list[Figure]:
    loaded = load(arguments.config)
    model = load_model(loaded.config.inference.clip, loaded.config.inference, loaded.root)
    collection = generated.generate(model, arguments.vectors, loaded.path(generated.FOLDER))
    config = generated.index(generated.service_config(loaded), arguments.shards, collection)
    texts = generated.queries()
    with cluster(config, arguments.shards, folder) as services:
        peak_rate = arguments.peak_rate
        if peak_rate is None:
            drivers.require_programs()
            url = f"http://{services.front.address}{PATH}"
            peak_rate = drivers.wrk(url, texts, folder, seconds=PEAK_S).requests_per_s
        address = services.front.address
        return measure(address, peak_rate, arguments.times, arguments.seconds, texts)


if __name__ == "__main__":
    run(main)
