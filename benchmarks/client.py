"""Send front the same request again and again, and report: python benchmarks/client.py.

client.json describes the request: a search by text or by image, or a classification of an image.
Mode `single` sends `count` requests in turn. Mode `locust` has `users` send requests at the same
time for `run_time_s`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
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

CONFIG = "CLIP_SEARCH_CLIENT"  # the variable that names the configuration to locustfile.py
TIMEOUT_S = 30
STOP_S = 10  # requests in flight at the end of the run time may take so long
Request = tuple[str, bytes, dict[str, str]]  # a POST: its path, body and headers
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration; a relative path of an image starts from the file's folder."""

    address: str
    endpoint: Literal["search text", "search image", "classify"]
    text: str
    image: str
    count: AtLeastOne
    users: AtLeastOne
    spawn_rate: AtLeastOne  # users started in a second
    run_time_s: AtLeastOne


class Report(NamedTuple):
    """The outcome of a run."""

    times_ms: Sequence[float]
    failures: int  # requests without an answer, and answers other than 2xx
    took_s: float


def read(path: Path) -> Client:
    """Read the configuration from a file; raises ConfigError."""
    try:
        client = msgspec.json.decode(path.read_bytes(), type=Client)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return replace(client, image=str(path.resolve().parent / client.image))


def prepare(client: Client) -> Request:
    """The request to send; raises ConfigError if the image cannot be read."""
    path = "/v1/classify" if client.endpoint == "classify" else "/v1/search"
    if client.endpoint == "search text":
        return (
            path,
            json.dumps({"text": client.text}).encode(),
            {"Content-Type": "application/json"},
        )
    image = Path(client.image)
    try:
        body, content_type = encode_multipart_formdata({"image": (image.name, image.read_bytes())})
    except OSError as error:
        raise ConfigError(f"image: {error}") from None
    return path, body, {"Content-Type": content_type}


def single(client: Client, request: Request) -> Report:
    """Send `count` requests in turn, over one connection."""
    (path, body, headers), times_ms, failures = request, [], 0
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as http:
        url, began = f"http://{client.address}{path}", time.perf_counter()
        ended = began
        for _ in range(client.count):
            try:
                reply = http.request("POST", url, body=body, headers=headers)
                failures += not 200 <= reply.status < 300
            except urllib3.exceptions.HTTPError:
                failures += 1
            times_ms.append(1000 * (time.perf_counter() - ended))
            ended = time.perf_counter()
    return Report(times_ms, failures, ended - began)


def locust(client: Client, _request: Request) -> Report:
    """Let the users of locust send the request; raises MissingPackage."""
    if not find_spec("locust"):
        raise MissingPackage("there is no locust: pip install -r requirements-dev.txt")
    options = (
        "--headless --json --skip-log --locustfile benchmarks/locustfile.py "
        f"--host http://{client.address} --users {client.users} --stop-timeout {STOP_S} "
        f"--spawn-rate {client.spawn_rate} --run-time {client.run_time_s}s"
    )
    command = [sys.executable, "-m", "locust", *options.split()]
    with tempfile.TemporaryDirectory(prefix="clip-search-client-") as folder:
        config = Path(folder) / "client.json"
        config.write_bytes(msgspec.json.encode(client))
        start = partial(subprocess.run, cwd=CHECKOUT, env={**os.environ, CONFIG: str(config)})
        done = start(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: some requests failed
        raise RuntimeError(f"locust ended with {done.returncode}: {done.stderr}")
    (told,) = json.loads(done.stdout)
    times = told["response_times"].items()  # by ms, rounded to two figures, the number of answers
    times_ms = [float(ms) for ms, count in times for _ in range(count)]
    took_s = told["last_request_timestamp"] - told["start_time"]
    return Report(times_ms, told["num_failures"], took_s)


def statuses(address: str, route: str) -> Counter[str]:
    """The server's own counts of a route's requests, by status; raises ConfigError."""
    try:
        answer = urllib3.request(
            "GET", f"http://{address}/metrics", retries=False, timeout=TIMEOUT_S
        )
    except urllib3.exceptions.HTTPError as error:
        raise ConfigError(f"{address} does not answer: {error}") from None
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(answer.data.decode()):
        for sample in family.samples:
            if sample.name == "clip_search_requests_total" and sample.labels["route"] == route:
                found[sample.labels["status"]] += int(sample.value)
    return found


def show(report: Report, counted: Counter[str]) -> str:
    """A line for each figure. `counted` has the server's own counts, of all its clients."""
    count, total_ms = len(report.times_ms), sum(report.times_ms)
    p50, p95, p99 = np.percentile(report.times_ms, (50, 95, 99))
    lines = [f"{'requests':12} {count:10}", f"{'failures':12} {report.failures:10}"]
    rates = {"requests/s": count / report.took_s, "mean, ms": total_ms / count}
    for name, value in {**rates, "p50, ms": p50, "p95, ms": p95, "p99, ms": p99}.items():
        lines.append(f"{name:12} {value:10.1f}")
    lines.append("counted by the server:")
    lines += [f"status {status:5} {counted[status]:10}" for status in sorted(counted)]
    return "\n".join(lines)


MODES: dict[str, Callable[[Client, Request], Report]] = {"single": single, "locust": locust}


def main() -> None:
    """Send the requests and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=tuple(MODES), default="single")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    client = read(arguments.config)
    request = prepare(client)
    before = statuses(client.address, request[0])
    report = MODES[arguments.mode](client, request)
    print(show(report, statuses(client.address, request[0]) - before))


if __name__ == "__main__":
    run(main)
