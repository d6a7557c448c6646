"""Measure searches as a collection and its shards grow: python benchmarks/growth.py.

The vectors are generated, and kept in data/benchmarks with their indexes: the first run builds
them.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec

from benchmarks import drivers, generated
from benchmarks.figures import Figure, table
from devtools.memory import resident_bytes
from common.config import Loaded, load
from common.process import argument_parser, run
from inference.clip.model import load_model
from devtools.services import Cluster, Service, cluster, running, with_section

SECTION = "growth"
COUNTS = (10_000, 100_000, 1_000_000)
SHARDS = (1, 4, 21)
LARGE = 500_000
LARGE_EF_CONSTRUCTION = 100
"""From LARGE vectors on, where the default of 200 would take twice as long to build."""
LARGE_SHARDS = (21,)
ALONE_S = 3
LOADED_S = 5
WARM_UP_S = 2


class Measuring(NamedTuple):
    """What all sizes have in common."""

    config: dict[str, Any]
    inference: Service
    queries: Iterator[str]
    folder: Path


def measure(
    loaded: Loaded,
    folder: Path,
    counts: Sequence[int] = COUNTS,
    shard_counts: Sequence[int] | None = None,
) -> list[Figure]:
    """The figures of each number of vectors and of shards; `folder` is for the load's files."""
    model = load_model(loaded.config.inference.clip, loaded.config.inference, loaded.root)
    config = with_section(generated.service_config(loaded), "Inference", port=0)
    found = []
    with running("inference/inference.py", config, cwd=folder) as inference:
        measuring = Measuring(config, inference, generated.queries(), folder)
        for count in counts:
            collection = generated.generate(model, count, loaded.path(generated.FOLDER))
            how = built(config, count)
            for shards in shard_counts or (LARGE_SHARDS if count >= LARGE else SHARDS):
                found += _measure_one(measuring, generated.index(how, shards, collection), count)
    return found


def built(config: dict[str, Any], count: int) -> dict[str, Any]:
    """`config` with how the index of so many vectors is built."""
    if count < LARGE:
        return config
    return with_section(config, "Prepare", ef_construction=LARGE_EF_CONSTRUCTION)


def _measure_one(measuring: Measuring, config: dict[str, Any], count: int) -> list[Figure]:
    shards = len(config["Search"]["server-list"])
    what = f"{count:,} vectors, {shards} shards"
    load_s = _load_time(config, measuring.folder)
    with cluster(config, shards, measuring.folder, inference=measuring.inference) as services:
        _wrk(measuring, services, drivers.CONCURRENCY, WARM_UP_S)
        alone = _wrk(measuring, services, 1, ALONE_S)
        loaded = _wrk(measuring, services, drivers.CONCURRENCY, LOADED_S)
        memory = resident_bytes(server.process.pid for server in services.search)
    print(f"{what}: {loaded}", flush=True)
    clients = f"{drivers.CONCURRENCY} clients"
    return [
        Figure(SECTION, f"{what}: queries, {clients}", loaded.requests_per_s, "queries/s"),
        Figure(SECTION, f"{what}: p50, {clients}", loaded.p50_ms, "ms"),
        Figure(SECTION, f"{what}: p99, {clients}", loaded.p99_ms, "ms"),
        Figure(SECTION, f"{what}: errors", loaded.errors + alone.errors, "requests", at_most=0),
        Figure(SECTION, f"{what}: p50, one client", alone.p50_ms, "ms"),
        Figure(SECTION, f"{what}: p99, one client", alone.p99_ms, "ms"),
        Figure(SECTION, f"{what}: search servers, all", memory / 2**20, "MiB of memory"),
        Figure(SECTION, f"{what}: start of one search server", load_s, "s"),
    ]


def _load_time(config: dict[str, Any], folder: Path) -> float:
    """The seconds from the start of the first search server until it listens."""
    began = time.perf_counter()
    with running("search/search.py", config, "--index", "0", cwd=folder):
        return time.perf_counter() - began


def _wrk(
    measuring: Measuring, services: Cluster, connections: int, seconds: int
) -> drivers.Measured:
    most = seconds * (drivers.WRK_MAX_PER_SECOND if connections > 1 else 1000)
    texts = itertools.islice(measuring.queries, most)
    return drivers.wrk_bodies(
        f"http://{services.middle.address}/search",
        (msgspec.json.encode({"text": text}) for text in texts),
        measuring.folder,
        connections=connections,
        seconds=seconds,
    )


def main() -> None:
    """Measure and print the table."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--vectors", type=int, nargs="+", default=COUNTS, metavar="N")
    add("--shards", type=int, nargs="+", metavar="N", help="(default: 1 4 21; for a million, 21)")
    arguments = parser.parse_args()
    drivers.require_programs()
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        given = load(arguments.config), Path(folder), arguments.vectors, arguments.shards
        print(table(measure(*given)))


if __name__ == "__main__":
    run(main)
