"""Send front one request over and over and say what it did: python benchmarks/client.py.

The configuration (client.json) says what: a search by text or image, or an image to classify. Mode
`single` sends `count` of it, one after the other; `locust` as many as `users` at once can, for
`run_time_s`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec
import numpy as np
import urllib3
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from urllib3.filepost import encode_multipart_formdata

from common.config import CHECKOUT
from common.errors import ConfigError, MissingPackage
from common.process import run

CONFIG = "CLIP_SEARCH_CLIENT"
"""The variable that names the configuration to locustfile.py."""
TIMEOUT_S = 30
STOP_S = 10
"""What requests under way may take when the run time is over."""
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to send, where and how often; a relative path starts from the file's folder."""

    address: str
    endpoint: Literal["search text", "search image", "classify"]
    text: str
    image: str
    count: AtLeastOne
    users: AtLeastOne
    spawn_rate: AtLeastOne
    """Users that start in a second."""
    run_time_s: AtLeastOne


class Request(NamedTuple):
    """A POST, ready to be sent."""

    path: str
    body: bytes
    headers: dict[str, str]


class Report(NamedTuple):
    """What a server did."""

    requests: int
    failures: int
    """Requests without an answer, and answers other than 2xx."""
    requests_per_s: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    by_status: dict[str, int]
    """What the server itself counted meanwhile, whoever asked."""


def read(path: Path) -> Client:
    """The configuration in a file; raises ConfigError."""
    try:
        client = msgspec.json.decode(path.read_bytes(), type=Client)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return replace(client, image=str(path.resolve().parent / client.image))


def prepare(client: Client) -> Request:
    """The request that is sent over and over; raises ConfigError for an image that is not there."""
    path = "/v1/classify" if client.endpoint == "classify" else "/v1/search"
    if client.endpoint == "search text":
        body = json.dumps({"text": client.text}).encode()
        return Request(path, body, {"Content-Type": "application/json"})
    image = Path(client.image)
    try:
        form = {"image": (image.name, image.read_bytes())}
    except OSError as error:
        raise ConfigError(f"image: {error}") from None
    body, content_type = encode_multipart_formdata(form)
    return Request(path, body, {"Content-Type": content_type})


def single(client: Client) -> Report:
    """Send `count` requests in turn, over one connection."""
    request = prepare(client)
    times_ms, failures = [], 0
    before = statuses(client.address, request.path)
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as http:
        url = f"http://{client.address}{request.path}"
        began = time.perf_counter()
        for _ in range(client.count):
            start = time.perf_counter()
            failures += not _is_answered(http, url, request)
            times_ms.append(1000 * (time.perf_counter() - start))
        taken_s = time.perf_counter() - began
    counted = statuses(client.address, request.path) - before
    return summarize(times_ms, failures, taken_s, counted)


def _is_answered(http: urllib3.PoolManager, url: str, request: Request) -> bool:
    try:
        answer = http.request("POST", url, body=request.body, headers=request.headers)
    except urllib3.exceptions.HTTPError:
        return False
    return 200 <= answer.status < 300


def locust(client: Client) -> Report:
    """Have locust's users send it; raises MissingPackage."""
    if not find_spec("locust"):
        raise MissingPackage("there is no locust: pip install -r requirements-dev.txt")
    path = prepare(client).path
    before = statuses(client.address, path)
    with tempfile.TemporaryDirectory(prefix="clip-search-client-") as folder:
        config = Path(folder) / "client.json"
        config.write_bytes(msgspec.json.encode(client))
        options = [
            *("--headless", "--json", "--skip-log", "--stop-timeout", str(STOP_S)),
            *("--locustfile", "benchmarks/locustfile.py", "--host", f"http://{client.address}"),
            *("--users", str(client.users), "--spawn-rate", str(client.spawn_rate)),
            *("--run-time", f"{client.run_time_s}s"),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "locust", *options],
            cwd=CHECKOUT,
            env={**os.environ, CONFIG: str(config)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):  # 1: some requests failed
        raise RuntimeError(f"locust ended with {done.returncode}: {done.stderr}")
    (told,) = json.loads(done.stdout)
    times = told["response_times"].items()  # ms, rounded to two figures, and how often
    times_ms = [float(ms) for ms, count in times for _ in range(count)]
    taken_s = told["last_request_timestamp"] - told["start_time"]
    counted = statuses(client.address, path) - before
    return summarize(times_ms, told["num_failures"], taken_s, counted)


def statuses(address: str, route: str) -> Counter[str]:
    """The requests of a route that the server at `address` has counted, by status."""
    try:
        answer = urllib3.request("GET", f"http://{address}/metrics", timeout=TIMEOUT_S)
    except urllib3.exceptions.HTTPError as error:
        raise ConfigError(f"{address} does not answer: {error}") from None
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(answer.data.decode()):
        for sample in family.samples:
            if sample.name == "clip_search_requests_total" and sample.labels["route"] == route:
                found[sample.labels["status"]] += int(sample.value)
    return found


def summarize(
    times_ms: Sequence[float], failures: int, taken_s: float, counted: Counter[str]
) -> Report:
    """The report of requests that took so long each, and together; at least one."""
    p50, p95, p99 = (float(one) for one in np.percentile(times_ms, (50, 95, 99)))
    count = len(times_ms)
    return Report(
        count, failures, count / taken_s, sum(times_ms) / count, p50, p95, p99, dict(counted)
    )


def show(report: Report) -> str:
    """A line for each figure."""
    lines = [
        f"{name.replace('_per_s', '/s').replace('_ms', ', ms'):12} {value:10.{digits}f}"
        for name, value in report._asdict().items()
        if name != "by_status"
        for digits in [0 if isinstance(value, int) else 1]
    ]
    counted = [
        f"status {status:5} {count:10}" for status, count in sorted(report.by_status.items())
    ]
    return "\n".join([*lines, "counted by the server:", *counted])


MODES = {"single": single, "locust": locust}


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=tuple(MODES), default="single")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    print(show(MODES[arguments.mode](read(arguments.config))))


if __name__ == "__main__":
    run(main)
