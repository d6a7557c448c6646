"""What live writes cost, and when they are found: python evaluation/live_writes.py.

Three search servers with two replicas each hold 100,000 generated vectors, with the starter model.
Unique texts are searched at random moments, then images are put, then both at the same rate. An
image is found once a search beside it is answered that has its position, which is the least of all
shards. Then wrk asks unique texts in turn of two systems: one without puts, and one where 5 % as
many vectors were put live. `--runtime` and `--precision` are those of the models.
"""

import argparse
import asyncio
import base64
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/

from common.config import Inference
from devtools import vector_collection
from devtools.loads import Measured, bodies, wrk
from devtools.open_loop import Client
from devtools.photos import photo
from devtools.process_tree import cpu_seconds
from devtools.services import CHECKOUT, Cluster, Service, cluster, with_section
from devtools.vectors import unit
from devtools.words import all_queries
from inference.clip.model import load_model
from search.image_key import IMAGE_KEY
from search.log import Entry
from search.messages import Record
from search.sqlite_log import SqliteLog

VECTORS, SHARDS, SERVERS, REPLICAS = 100_000, 6, 3, 2
KEPT = CHECKOUT / "data/benchmarks"
"""Where the vectors and their index stay for the next run."""
RATES, SECONDS, WARM_S = (50, 100), 30, 5
PIXELS = 128
PATHS = {"put": "/v1/images", "search": "/v1/search"}
DELTA = VECTORS // 20
ROUNDS, ROUND_S, CLIENTS = 5, 8, 32


def system(config: dict[str, Any], folder: Path) -> AbstractContextManager[Cluster]:
    """All services over an index, without a prediction cache."""
    held = [",".join(map(str, range(server, SHARDS, SERVERS))) for server in range(SERVERS)]
    uncached = with_section(config, "Middle", cache="off")
    return cluster(uncached, SERVERS, folder, held, replicas=REPLICAS)


class Positioned(msgspec.Struct):
    """What matters here of the answers to puts and searches."""

    position: int


class Load:
    """Requests at random moments; times are in seconds, from the moment of a request."""

    def __init__(self, front: str, requests: Mapping[str, Iterator[bytes]]) -> None:
        """`front` is "host:port"; `requests` are the bodies of puts and searches."""
        self._clients = {name: Client(front, PATHS[name]) for name in requests}
        self._requests = requests
        self._unseen: dict[int, float] = {}  # the moments of puts, by position
        self.taken: dict[str, list[float]] = {"put": [], "found": [], "search": []}
        self.failed = 0
        self.done = 0.0
        """Requests of each kind a second, on average."""

    async def run(self, rate: int, seconds: int) -> None:
        """Send `rate` requests of each kind a second, on average, until all are answered."""
        random = np.random.default_rng(rate)
        moments = sorted(
            (at_s, name)
            for name in self._requests
            for at_s in random.uniform(0, seconds, rate * seconds).tolist()
        )
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for at_s, name in moments:
                await asyncio.sleep(began + at_s - time.monotonic())
                tasks.create_task(self._ask(name, began + at_s))
        while self._unseen and "search" in self._requests:  # those of the last moments
            await self._ask("search", time.monotonic())
        answered = sum(len(self.taken[name]) for name in self._requests)
        self.done = answered / len(self._requests) / (time.monotonic() - began)
        for client in self._clients.values():
            client.close()

    async def _ask(self, name: str, moment: float) -> None:
        try:
            status, body = await self._clients[name].post(next(self._requests[name]))
        except (OSError, EOFError, ValueError):  # no answer, or one that gives no position
            status, body = 0, b""
        if status not in (200, 201):
            self.failed += 1
            return
        now, position = time.monotonic(), msgspec.json.decode(body, type=Positioned).position
        self.taken[name].append(now - moment)
        if name == "put":
            self._unseen[position] = moment
            return
        for put in [known for known in self._unseen if known <= position]:
            self.taken["found"].append(now - self._unseen.pop(put))


def loaded(
    services: Cluster, requests: Mapping[str, Iterator[bytes]], rate: int, seconds: int
) -> tuple[Load, dict[str, float]]:
    """A load, and the CPU milliseconds of a request, or of one of each kind, by service."""

    def spent_s() -> dict[str, float]:
        of_services = {name: cpu_seconds(pids) for name, pids in services.pids.items()}
        return {**of_services, "client": time.process_time()}

    load, before = Load(services.front.address, requests), spent_s()
    asyncio.run(load.run(rate, seconds))
    spent = spent_s()
    return load, {name: 1000 * (spent[name] - before[name]) / (rate * seconds) for name in spent}


def put_and_find(
    services: Cluster, rate: int, searches: Iterator[bytes], puts: Iterator[bytes]
) -> None:
    """Print how long puts took, how long images were not found, and the CPU time of all."""
    prepared = iter(list(itertools.islice(puts, rate * (WARM_S + 2 * SECONDS))))
    both = {"search": searches, "put": prepared}
    loaded(services, both, rate, WARM_S)
    _, search_ms = loaded(services, {"search": searches}, rate, SECONDS)
    _, put_ms = loaded(services, {"put": prepared}, rate, SECONDS)
    load, both_ms = loaded(services, both, rate, SECONDS)
    print(f"{rate} puts and searches a second: {load.done:.0f} done, {load.failed} failed")
    for name, times in load.taken.items():
        p50, p99 = np.percentile(times, [50, 99]) * 1000
        print(f"| {name} | {p50:.0f} ms | {p99:.0f} ms |")
    print("| | a search alone | a put alone | a search and a put |")
    for name, spent_ms in both_ms.items():
        print(f"| {name} | {search_ms[name]:.2f} | {put_ms[name]:.2f} | {spent_ms:.2f} |")


def bodies_of_puts() -> Iterator[bytes]:
    """The bodies of puts of images that never repeat."""
    for number in itertools.count():
        image = base64.b64encode(photo(number, PIXELS)).decode()
        yield msgspec.json.encode({"image": image})


def put_vectors(path: Path, dim: int, space: str) -> None:
    """Append random vectors to the log, as puts of images."""
    log = SqliteLog(path)
    random = np.random.default_rng(5)
    vectors = unit(random.standard_normal((DELTA, dim)).astype(np.float32))
    keys = random.integers(0, 2**63, (DELTA, 3), dtype=np.uint64) * np.uint64(2)
    entries = [
        Entry(
            *("put", key.astype(IMAGE_KEY[0]).tobytes(), space, vector.tobytes()),
            msgspec.msgpack.encode(Record(f"live/{number}.jpg")),
        )
        for number, (key, vector) in enumerate(zip(keys, vectors, strict=True))
    ]
    log.append(entries)
    log.close()


def throughput(front: Service, texts: Iterator[str], folder: Path) -> Measured:
    """The rate of unique texts to ten hits."""
    return wrk(f"http://{front.address}/v1/search", bodies(texts), folder, ROUND_S, clients=CLIENTS)


def compare(config: dict[str, Any], folder: Path, dim: int, space: str) -> None:
    """Print the rate and CPU time of searches with a delta and without."""
    plain = with_section(config, "Live", log=f"sqlite:{folder}/plain.sqlite")
    live = with_section(config, "Live", log=f"sqlite:{folder}/live.sqlite")
    put_vectors(folder / "live.sqlite", dim, space)
    texts = all_queries()
    with system(plain, folder) as first, system(live, folder) as second:
        names = ("no delta", "5 % delta")
        rates: dict[str, list[float]] = {name: [] for name in names}
        cpu: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name, services in zip(rates, (first, second), strict=True):
                pids = [pid for pids in services.pids.values() for pid in pids]
                before = cpu_seconds(pids)
                measured = throughput(services.front, texts, folder)
                rates[name].append(measured.rate)
                cpu[name].append(1000 * (cpu_seconds(pids) - before) / measured.answers)
    for name, values in rates.items():
        print(
            f"| {name} | {statistics.median(values):.0f} | {statistics.median(cpu[name]):.2f} ms |"
        )
    pairs = zip(rates["5 % delta"], rates["no delta"], strict=True)
    print(f"ratio, by round: {statistics.median(a / b for a, b in pairs):.2f}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="Measures puts beside searches.")
    parser.add_argument("--runtime", default=Inference().runtime)
    parser.add_argument("--precision", default=Inference().precision)
    options = vars(parser.parse_args())
    model = load_model("starter")
    config: dict[str, Any] = {"Inference": {"mclip": None, **options}}
    collection = vector_collection.generate(model, VECTORS, KEPT)
    config = vector_collection.index(config, SHARDS, collection)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with system(config, folder) as services:
            searches, puts = bodies(all_queries()), bodies_of_puts()
            for rate in RATES:
                put_and_find(services, rate, searches, puts)
        compare(config, folder, model.dim, model.space)


if __name__ == "__main__":
    main()
