"""Measure requests a second and latency of all services together: python benchmarks/load.py.

Everything, the programs that make the load too, runs on this machine. ab sends one and the same
query each time, and nothing keeps answers, so each is computed; wrk sends queries that never
repeat. While wrk runs, answers are taken and compared with exact search.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec

from benchmarks import drivers, vectors
from benchmarks.drivers import Measured
from benchmarks.report import Result, Scenario, summarize, table, write
from benchmarks.words import all_queries
from common.config import Loaded, argument_parser, load
from common.process import run
from common.wire import Matrix
from inference.model import load_model
from inference.registry import find_model
from tests.services import Cluster, Service, cluster, running, with_section

K = 10
SAMPLES = 100
WARM_UP = 300
HELLO = Scenario("bare Flask hello, the same ab POST", "ab")


class Bench:
    """A run of the whole load test, with its vectors and what was measured so far."""

    def __init__(self, loaded: Loaded, folder: Path, requests: int, count: int) -> None:
        self.folder = folder
        self.requests = requests
        self.texts: Iterator[str] = all_queries()
        self.model = load_model(loaded.config.inference.clip, root=loaded.root)
        self.vectors: Matrix = vectors.make_vectors(self.model, self.texts, count)
        vectors.save_vectors(self.vectors, self.model, folder / "embeddings")
        self.config = service_config(loaded)
        self.body = folder / "body.json"
        self.text = next(self.texts)
        self.body.write_text(json.dumps({"text": self.text}))
        self.runs: dict[Scenario, list[Measured]] = {}
        self.recalls: dict[Scenario, list[float]] = {}

    def hello(self) -> None:
        """Measure the yardstick."""
        with running("benchmarks/hello.py", self.config, cwd=self.folder) as service:
            url = f"http://{service.address}/search"
            drivers.ab(url, WARM_UP, self.body)
            self._keep(HELLO, drivers.ab(url, self.requests, self.body))

    def index_config(self, servers: int) -> dict[str, Any]:
        """The config for so many search servers, its index built when it is first wanted."""
        names = {f"{name}_dir": f"{name}-{servers}" for name in ("index", "path", "hash")}
        config = with_section(self.config, "Prepare", embedding_dir="embeddings", **names)
        listed = with_section(config, "Search", server_list=["127.0.0.1:0"] * servers)
        if not (self.folder / names["index_dir"]).exists():
            print(f"  {vectors.build_index(listed, self.folder)}", flush=True)
        return config

    def search(self, servers: int) -> None:
        """Measure all scenarios with so many search servers."""
        config = self.index_config(servers)
        with cluster(config, servers, self.folder) as services:
            self._same_query(services, servers)
            self._unique_queries(services, servers)

    def _same_query(self, services: Cluster, servers: int) -> None:
        middle = f"http://{services.middle.address}/search"
        front = f"http://{services.front.address}/v1/search?text={quote(self.text)}"
        drivers.ab(middle, WARM_UP, self.body)
        drivers.ab(front, WARM_UP)
        to_middle = Scenario(f"{servers} search, middle, one query", "ab", servers)
        self._keep(to_middle, drivers.ab(middle, self.requests, self.body))
        to_front = Scenario(f"{servers} search, front, one query", "ab", servers)
        self._keep(to_front, drivers.ab(front, self.requests))

    def _unique_queries(self, services: Cluster, servers: int) -> None:
        url = f"http://{services.middle.address}/search"
        samples = list(itertools.islice(self.texts, SAMPLES))
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(drivers.wrk, url, self.texts, self.folder)
            answers = take_answers(services.middle, samples, load)
        scenario = Scenario(f"{servers} search, middle, unique queries", "wrk", servers)
        self._keep(scenario, load.result())
        found = vectors.recall(self.vectors, self.model, answers, K)
        self.recalls.setdefault(scenario, []).append(found)

    def _keep(self, scenario: Scenario, measured: Measured) -> None:
        self.runs.setdefault(scenario, []).append(measured)
        print(
            f"  {scenario.name}: {measured.requests_per_s:.0f} req/s, {measured.errors} errors",
            flush=True,
        )


def service_config(loaded: Loaded) -> dict[str, Any]:
    """The config of the services: as given, but on loopback and without mclip: all is English."""
    config: dict[str, Any] = msgspec.to_builtins(loaded.config)
    for section in ("Front", "Middle", "Inference"):
        config = with_section(config, section, address="127.0.0.1")
    model = str(find_model(loaded.config.inference.clip, loaded.root))
    config = with_section(config, "Inference", clip=model, mclip=None)
    return with_section(config, "Search", shards=None, inner_port=None)


def take_answers(middle: Service, texts: list[str], load: Future[Measured]) -> dict[str, list[str]]:
    """The paths found for texts, asked one by one while `load` lasts; a failure finds nothing."""
    answers: dict[str, list[str]] = {}
    for text in texts:
        if load.done():
            break
        response = middle.request("POST", "/search", json={"text": text, "k": K})
        hits = response.json()["hits"] if response.status == 200 else []
        answers[text] = [hit["path"] for hit in hits]
    return answers


def measure(loaded: Loaded, arguments: argparse.Namespace) -> list[Result]:
    """Run all scenarios, the repeats interleaved."""
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        bench = Bench(loaded, Path(folder), arguments.requests, arguments.vectors)
        for repeat in range(arguments.repeat):
            print(f"run {repeat + 1} of {arguments.repeat}", flush=True)
            bench.hello()
            for servers in arguments.servers:
                bench.search(servers)
        return summarize(bench.runs, bench.recalls, HELLO)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    for name, default, meaning in (
        ("--requests", 10_000, "of each ab run"),
        ("--vectors", 100_000, f"in the index, {K} at least"),
        ("--repeat", 1, "runs of all, interleaved; medians count"),
    ):
        parser.add_argument(name, type=int, default=default, metavar="N", help=meaning)
    parser.add_argument(
        "--servers", type=_numbers, default=[1, 4, 21], metavar="N,...", help="search servers"
    )
    arguments = parser.parse_args()
    counts = [arguments.requests, arguments.repeat, *arguments.servers]
    if min(counts) < 1 or arguments.vectors < K:
        parser.error(f"every number is 1 at least, and --vectors {K}")
    return arguments


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure, print the table and write the result file."""
    arguments = parse_arguments()
    drivers.require_programs()
    loaded = load(arguments.config)
    settings = {
        "requests": arguments.requests,
        "vectors": arguments.vectors,
        "servers": arguments.servers,
        "repeat": arguments.repeat,
        "concurrency": drivers.CONCURRENCY,
        "wrk_seconds": drivers.WRK_SECONDS,
        "load_average_before": os.getloadavg(),
    }
    results = measure(loaded, arguments)
    print(f"\n{table(results)}\n\n{write('load', results, settings, loaded.config)}")


if __name__ == "__main__":
    run(main)
