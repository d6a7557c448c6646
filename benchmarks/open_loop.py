"""Measure latency at a given rate, whatever the answers take: python benchmarks/open_loop.py.

The queries come at random moments (Poisson arrivals) that are drawn before the first is sent, and
each is timed from the moment at which it was due: a service that stands still does not slow down
who asks, and all that should have been asked meanwhile counts as late. A tool that waits for an
answer before it asks again leaves those out (Tene's "coordinated omission").
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from devtools import vectors
from devtools import open_loop
from benchmarks import drivers, generated
from devtools.open_loop import Reply
from benchmarks.figures import Figure, table
from devtools.memory import resident_bytes
from common.config import load
from common.process import argument_parser, run
from common.wire import Matrix
from inference.clip.model import Model, load_model
from devtools.services import Cluster, cluster

SECTION = "open loop"
LOADS = (0.25, 0.5, 0.75, 1.0)
"""Of the peak rate."""
K = 10
SAMPLES = 50
"""Answers at each load that are compared with exact search."""
WARM_UP_S = 10
SETTLED_S = 60
SAMPLE_S = 1.0
PERCENTILES = (50, 99, 99.9)

Samples = list[tuple[float, int]]
"""Seconds since the start, and the resident bytes then."""


class Truth(NamedTuple):
    """What the answers should be."""

    vectors: Matrix
    model: Model


def measure(
    services: Cluster, peak_rate: float, seconds_each: float, texts: Iterator[str], truth: Truth
) -> list[Figure]:
    """Latency and errors at each of LOADS for so long, answers checked.

    `peak_rate` is in queries a second; `texts` never repeat.
    """
    address = services.middle.address
    list(open_loop.send(address, open_loop.draw(peak_rate, WARM_UP_S, texts), K))
    found = []
    for share in LOADS:
        due = open_loop.draw(share * peak_rate, seconds_each, texts, seed=round(100 * share))
        replies = open_loop.send(address, due, K, SAMPLES)
        found += figures(share, replies, seconds_each)
        found.append(_recall(share, replies, truth))
        print(f"{share:.0%} of {peak_rate:.0f}/s: {found[-len(PERCENTILES) - 3 :]}", flush=True)
    return found


def processes(services: Cluster) -> list[int]:
    """The process ids of a system."""
    started = [services.front, services.middle, services.inference, *services.search]
    return [service.process.pid for service in started]


def memory(samples: Samples, busy_s: float = 0) -> Figure:
    """By how much memory grew since a minute after it had first been busy."""
    settled_s = busy_s + SETTLED_S
    growth = 100 * growth_of(samples, settled_s)
    minutes = (samples[-1][0] - settled_s) / 60
    name = f"resident memory, all services, over the last {minutes:.0f} minutes"
    return Figure(SECTION, name, growth, "% more", at_most=3)


def figures(share: float, replies: Sequence[Reply], seconds: float) -> list[Figure]:
    """What the replies at one load say; a query that failed counts as late as its failure was."""
    name = f"at {share:.0%} of the peak rate"
    times = np.percentile([one.latency_ms for one in replies], PERCENTILES).tolist()
    failed = sum(not one.ok for one in replies)
    rate = Figure(SECTION, f"{name}: queries", len(replies) / seconds, "queries/s")
    latencies = [
        Figure(SECTION, f"{name}: p{percentile:g}", value, "ms")
        for percentile, value in zip(PERCENTILES, times, strict=True)
    ]
    errors = Figure(SECTION, f"{name}: errors", failed, "queries", at_most=0)
    aimed_at = 4 if share == 0.5 else None
    spread = Figure(SECTION, f"{name}: p99 / p50", times[1] / times[0], "ratio", at_most=aimed_at)
    return [rate, *latencies, spread, errors]


def _recall(share: float, replies: Sequence[Reply], truth: Truth) -> Figure:
    answers: Mapping[str, list[str]] = {
        one.text: [hit["path"] for hit in json.loads(one.body)["hits"]]
        for one in replies
        if one.ok and one.body
    }
    found = vectors.recall(truth.vectors, truth.model, answers, K)
    name = f"at {share:.0%} of the peak rate: recall@{K}"
    return Figure(SECTION, name, found, "share", note=f"{len(answers)} answers")


@contextmanager
def watching(pids: Sequence[int]) -> Iterator[Samples]:
    """Sample the memory of processes, and of what they started, until the block ends."""
    samples: Samples = []
    ended = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            samples.append((time.monotonic() - began, resident_bytes(pids)))

    thread = threading.Thread(target=watch, name="memory")
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def growth_of(samples: Samples, settled_s: float) -> float:
    """By which share memory grew from `settled_s`, or half of the time if less, to the end.

    Medians of ten samples each, so that one batch in flight says nothing.
    """
    from_s = min(settled_s, samples[-1][0] / 2)
    sizes = [size for at, size in samples if at >= from_s]
    return float(np.median(sizes[-10:]) / np.median(sizes[:10]) - 1)


def main() -> None:
    """Start all services, measure and print the table."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--peak-rate", type=float, metavar="N", help="queries a second (default: what wrk gets)")
    add("--seconds", type=float, default=150, metavar="S", help="at each load")
    add("--vectors", type=int, default=100_000, metavar="N")
    add("--shards", type=int, default=4, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        print(table(_measure_all(arguments, Path(folder))))


def _measure_all(arguments: argparse.Namespace, folder: Path) -> list[Figure]:
    loaded = load(arguments.config)
    model = load_model(loaded.config.inference.clip, loaded.config.inference, loaded.root)
    collection = generated.generate(model, arguments.vectors, loaded.path(generated.FOLDER))
    config = generated.index(generated.service_config(loaded), arguments.shards, collection)
    texts = generated.queries()
    truth = Truth(generated.read_vectors(collection), model)
    with cluster(config, arguments.shards, folder) as services:
        peak_rate = arguments.peak_rate
        if peak_rate is None:
            drivers.require_programs()
            url = f"http://{services.middle.address}/search"
            peak_rate = drivers.wrk(url, texts, folder).requests_per_s
        with watching(processes(services)) as samples:
            found = measure(services, peak_rate, arguments.seconds, texts, truth)
        return [*found, memory(samples)]


if __name__ == "__main__":
    run(main)
