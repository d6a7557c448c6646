"""What live writes cost, and when they are found: python evaluation/live_writes.py.

Three search servers with two replicas each hold 100,000 generated vectors, with the starter model.
First images are put, 100 a second, beside 100 searches a second; an image is found once an answer
has its position, which is the least of all shards. Then wrk asks unique texts in turn of two
systems: one without puts, and one where 5 % as many vectors were put live.
"""

import base64
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/

from devtools import vector_collection
from devtools.loads import Measured, bodies, wrk
from devtools.photos import photo
from devtools.process_tree import cpu_seconds
from devtools.services import Cluster, Service, cluster, with_section
from devtools.vectors import unit
from devtools.words import all_queries
from inference.clip.model import load_model
from search.image_key import IMAGE_KEY
from search.log import Entry
from search.messages import Record
from search.sqlite_log import SqliteLog

VECTORS, SHARDS, SERVERS, REPLICAS = 100_000, 6, 3, 2
RATE, SECONDS, THREADS = 100, 30, 32
PIXELS = 128
DELTA = VECTORS // 20
ROUNDS, ROUND_S, CLIENTS = 5, 8, 32


def system(config: dict[str, Any], folder: Path) -> AbstractContextManager[Cluster]:
    """All services over an index, without a prediction cache."""
    held = [",".join(map(str, range(server, SHARDS, SERVERS))) for server in range(SERVERS)]
    uncached = with_section(config, "Middle", cache="off")
    return cluster(uncached, SERVERS, folder, held, replicas=REPLICAS)


def paced(work: Callable[[int], object], count: int) -> None:
    """Call `work` with each number at its moment, `RATE` a second, on several threads."""
    began = time.perf_counter()

    def at_its_time(number: int) -> None:
        time.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(at_its_time, range(count)))


def put_and_find(front: Service) -> None:
    """Print how long puts took, and how long each image was not found."""
    texts, taken = all_queries(), dict[str, list[float]](put=[], found=[], search=[])
    lock = threading.Lock()
    files = [photo(number, PIXELS) for number in range(RATE * SECONDS)]

    def ask() -> Any:
        with lock:
            text = next(texts)
        return front.get(f"/v1/search?k=10&text={text.replace(' ', '+')}")

    def put(number: int) -> None:
        image = base64.b64encode(files[number]).decode()
        began = time.perf_counter()
        reply = front.request("POST", "/v1/images", json={"image": image})
        taken["put"].append(time.perf_counter() - began)
        if reply.status != 201:
            raise RuntimeError(reply.data.decode())
        while ask()["position"] < reply.json()["position"]:
            time.sleep(0.005)
        taken["found"].append(time.perf_counter() - began)

    def search(_number: int) -> None:
        began = time.perf_counter()
        ask()
        taken["search"].append(time.perf_counter() - began)

    began = time.perf_counter()
    searching = threading.Thread(target=paced, args=(search, RATE * SECONDS))
    searching.start()
    paced(put, RATE * SECONDS)
    searching.join()
    print(f"{len(files) / (time.perf_counter() - began):.0f} puts a second")
    for name, times in taken.items():
        p50, p99 = np.percentile(times, [50, 99]) * 1000
        print(f"| {name} | {p50:.0f} ms | {p99:.0f} ms | {1000 * max(times):.0f} ms |")


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
    model = load_model("starter")
    config: dict[str, Any] = {"Inference": {"mclip": None}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collection = vector_collection.generate(model, VECTORS, folder)
        config = vector_collection.index(config, SHARDS, collection)
        with system(config, folder) as services:
            put_and_find(services.front)
        compare(config, folder, model.dim, model.space)


if __name__ == "__main__":
    main()
