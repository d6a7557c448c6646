"""Send front the same request again and again, and report: python benchmarks/client.py.

client.json describes the request: a search by text or by image, or a classification of an image.
Mode `single` sends `count` requests in turn. Mode `locust` has `users` send requests at the same
time for `run_time_s`. A YAML file has the keys of `Loop`, in capitals.
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
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

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
Mode = Literal["single", "locust"]
UNITS_S = {"s": 1, "m": 60, "h": 3600}


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
    mode: Mode = "single"
    key: Annotated[str, msgspec.Meta(pattern="^[!-~]*$")] = ""  # of a front with keys


class Loop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="upper"):
    """The configuration in YAML, of a search by an image or of a classification."""

    url: Annotated[str, msgspec.Meta(pattern="^http://[^/]+/v1/(search|classify)$")]
    source_image_path: str
    mode: Mode = "single"
    loop_times: AtLeastOne = 1  # in mode single
    u: AtLeastOne = 1  # users, in mode locust
    r: AtLeastOne = 1  # users started in a second
    t: AtLeastOne | Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*[smh]$")] = 30  # s, or `5m`

    def client(self) -> Client:
        """The same as a `Client`."""
        _, _, address, _, route = self.url.split("/")
        endpoint: Any = "classify" if route == "classify" else "search image"
        time_s = self.t if isinstance(self.t, int) else int(self.t[:-1]) * UNITS_S[self.t[-1]]
        load = self.loop_times, self.u, self.r, time_s, self.mode
        return Client(address, endpoint, "", self.source_image_path, *load)


class Report(NamedTuple):
    """The outcome of a run."""

    times_ms: Sequence[float]
    failures: int  # requests without an answer, and answers other than 2xx
    took_s: float


def read(path: Path) -> Client:
    """Read the configuration from a JSON or YAML file; raises ConfigError."""
    try:
        if path.suffix in (".yaml", ".yml"):
            client = msgspec.yaml.decode(path.read_bytes(), type=Loop).client()
        else:
            client = msgspec.json.decode(path.read_bytes(), type=Client)
    except (ImportError, OSError, msgspec.DecodeError) as error:  # ImportError: no PyYAML
        raise ConfigError(f"{path}: {error}") from None
    return replace(client, image=str(path.resolve().parent / client.image))


def prepare(client: Client) -> Request:
    """The request to send; raises ConfigError if the image cannot be read."""
    path = "/v1/classify" if client.endpoint == "classify" else "/v1/search"
    headers = {"Authorization": f"Bearer {client.key}"} if client.key else {}
    if client.endpoint == "search text":
        body = json.dumps({"text": client.text}).encode()
        return path, body, {**headers, "Content-Type": "application/json"}
    image = Path(client.image)
    try:
        body, content_type = encode_multipart_formdata({"image": (image.name, image.read_bytes())})
    except OSError as error:
        raise ConfigError(f"image: {error}") from None
    return path, body, {**headers, "Content-Type": content_type}


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
    (told,) = json.loads(done.stdout)  # response_times: answers by ms, rounded to two figures
    times_ms = [float(ms) for ms, count in told["response_times"].items() for _ in range(count)]
    took_s = told["last_request_timestamp"] - told["start_time"]
    return Report(times_ms, told["num_failures"], took_s)


def statuses(address: str, request: Request) -> Counter[str]:
    """The server's own counts of such requests, by status, if it shows them; raises ConfigError."""
    try:
        get = partial(urllib3.request, "GET", f"http://{address}/metrics", headers=request[2])
        answer = get(retries=False, timeout=TIMEOUT_S)
    except urllib3.exceptions.HTTPError as error:
        raise ConfigError(f"{address} does not answer: {error}") from None
    if answer.status != 200:  # to this key, or behind an edge
        return Counter()
    families = text_string_to_metric_families(answer.data.decode())
    samples = [sample for family in families for sample in family.samples]
    told = [sample for sample in samples if sample.name == "clip_search_requests_total"]
    of_route = [sample for sample in told if sample.labels["route"] == request[0]]
    return Counter({sample.labels["status"]: int(sample.value) for sample in of_route})


def show(report: Report, counted: Counter[str]) -> str:
    """A line for each figure. `counted` has the server's own counts, of all its clients."""
    count, times_ms = len(report.times_ms), np.array(report.times_ms)
    figures = {"requests/s": count / report.took_s, "mean, ms": times_ms.mean()}
    figures |= {f"p{share}, ms": np.percentile(times_ms, share) for share in (50, 95, 99)}
    lines = [f"{'requests':12} {count:10}", f"{'failures':12} {report.failures:10}"]
    lines += [f"{name:12} {value:10.1f}" for name, value in figures.items()]
    told = [f"status {status:5} {counted[status]:10}" for status in sorted(counted)]
    told = told or ["nothing: it shows /metrics to keys of the scope admin, and not by an edge"]
    return "\n".join([*lines, "counted by the server:", *told])


def main() -> None:
    """Send the requests and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=get_args(Mode), help="in place of the file's")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    client = read(arguments.config)
    request = prepare(client)
    before = statuses(client.address, request)
    send = {"single": single, "locust": locust}[arguments.mode or client.mode]
    print(show(send(client, request), statuses(client.address, request) - before))


if __name__ == "__main__":
    run(main)
