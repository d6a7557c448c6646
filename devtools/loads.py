"""Loads: ApacheBench (ab), wrk, clip-client, and a loop in this process."""

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import psutil

from common.config import CHECKOUT
from common.errors import ConfigError
from devtools.client_environments import QUIET, programs

CLIENTS = 128
WRK_THREADS = 2
MAX_PER_S = 6000
"""Requests prepared for a second of load: about twice what two cores can answer."""
LUA = Path(__file__).with_name("unique.lua")
JSON = "application/json"
IDLE_PERCENT = 25
"""Of the machine's CPU."""


class Measured(NamedTuple):
    """The result of one load."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int | None = None
    """Requests without an answer, and answers other than 2xx. A loop in this process has none."""
    checked: int = 0
    """More answers during the load, which were compared with exact search."""
    recall: float | None = None
    """The share of the true nearest images that the checked answers have."""
    cpu_ms: Mapping[str, float] = {}
    """CPU time of an answer, by service."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    def __str__(self) -> str:
        """A line for the log."""
        text = f"{self.rate:.4g} a second, p50 {self.p50_ms:.4g} ms, p99 {self.p99_ms:.4g} ms"
        return text if self.errors is None else f"{text}, {self.errors} errors"


def require_programs() -> None:
    """Raise ConfigError with an install command if ab or wrk is missing."""
    missing = [name for name in ("ab", "wrk") if not shutil.which(name)]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} not found; Debian: apt-get install apache2-utils wrk"
        )


def ab(
    url: str,
    seconds: float,
    body: Path | None = None,
    header: str = "",
    content_type: str = JSON,
    clients: int = CLIENTS,
) -> Measured:
    """Send the same request again and again by ApacheBench; with a body it is a POST."""
    post = ["-p", str(body), "-T", content_type] if body else []
    named = ["-H", header] if header else []
    most = max(clients, round(MAX_PER_S * seconds))
    limit = [
        "-t",
        str(_whole(seconds)),
        "-n",
        str(most),
    ]  # the load ends at the first limit reached
    # -l: answers differ in length, as they have times and request ids
    output = _run("ab", "-k", "-l", "-q", "-c", str(clients), *limit, *post, *named, url)

    def number(pattern: str) -> float:
        found = re.search(rf"^\s*{pattern}\s+([0-9.]+)", output, re.MULTILINE)
        return float(found[1]) if found else 0.0

    errors = int(number("Failed requests:") + number("Non-2xx responses:"))
    answers = max(
        0, int(number("Complete requests:")) - errors
    )  # ab may count an error without an answer
    took_s = number("Time taken for tests:")
    return Measured(answers, took_s, number("50%"), number("99%"), errors)


def warm_up(send: Callable[[float], object], seconds: float) -> None:
    """Send a quarter of a load, before which the model and the threads are cold.

    A load of less than a second has none: its figures are of a try.
    """
    if seconds >= 1:
        send(seconds / 4)


def bodies(texts: Iterable[str]) -> Iterator[bytes]:
    """The JSON bodies of text queries, for middle, front and the baseline."""
    return (json.dumps({"text": text}).encode() for text in texts)


def wrk(
    url: str,
    sent: Iterable[bytes],
    folder: Path,
    seconds: float,
    *,
    content_type: str = JSON,
    clients: int = CLIENTS,
    again: bool = False,
) -> Measured:
    """POST bodies by wrk, each once. With `again`, wrk starts anew after the last body.

    `folder` is for the files that wrk reads. A request after the last body is an error.
    """
    prefix = folder / "bodies"
    threads = min(WRK_THREADS, clients)
    with ExitStack() as stack:
        paths = [prefix.with_suffix(f".{thread}") for thread in range(threads)]
        files = [stack.enter_context(path.open("wb")) for path in paths]
        kept = itertools.islice(sent, MAX_PER_S * _whole(seconds))
        for file, body in zip(itertools.cycle(files), kept):
            file.write(b"%d\n%b" % (len(body), body))
    options = [f"-c{clients}", f"-t{threads}", f"-d{_whole(seconds)}s", "--timeout=30s"]
    told_lua = [str(prefix), content_type, *["again"] * again]
    output = _run("wrk", *options, "--latency", "-s", str(LUA), url, "--", *told_lua)
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return Measured(
        told["requests"] - told["errors"],
        told["duration_us"] / 1e6,
        told["p50_us"] / 1000,
        told["p99_us"] / 1000,
        # wrk does not count requests without any answer as timeouts.
        told["errors"] if told["requests"] else clients,
    )


def peak_rate(url: str, sent: Iterator[bytes], folder: Path, seconds: float) -> float:
    """The bodies a second that wrk reaches after a warm-up."""

    def send(seconds: float) -> Measured:
        return wrk(url, sent, folder, seconds)

    warm_up(send, seconds)
    return send(seconds).rate


def clip_client(url: str, batch: int, seconds: float, photos: Sequence[str] = ()) -> Measured:
    """Texts that never repeat, or the photos in turn, by CLIP-as-service's own client."""
    arguments = [url, str(batch), str(seconds), *photos]
    python = str(programs("pydantic-1") / "python")
    told = json.loads(_run(python, "-m", "devtools.clip_client_load", *arguments).splitlines()[-1])
    return Measured(told["answers"], told["seconds"], 0, 0)


def loop(call: Callable[[], object], items: int, seconds: float, threads: int = 1) -> Measured:
    """Repeat a call of `items` items in each thread, at least once; latencies are of calls."""
    began = perf_counter()

    def repeat(_thread: int) -> tuple[list[float], float]:
        took_ms: list[float] = []
        ended = began
        while not took_ms or ended - began < seconds:
            call()
            took_ms.append(1000 * (perf_counter() - ended))
            ended += took_ms[-1] / 1000
        return took_ms, ended - began

    with ThreadPoolExecutor(threads) as pool:
        parts, took_s = zip(*pool.map(repeat, range(threads)), strict=True)
    all_ms = np.concatenate(parts)
    p50, p99 = np.percentile(all_ms, (50, 99)).tolist()
    return Measured(items * len(all_ms), max(took_s), p50, p99)


def wait_until_idle(most_s: float) -> None:
    """Wait until what others have left in their queues is done, as far as the CPU tells."""
    deadline = time.monotonic() + most_s
    while psutil.cpu_percent(0.5) > IDLE_PERCENT and time.monotonic() < deadline:
        pass


def _whole(seconds: float) -> int:
    """Whole seconds, as ab and wrk take no fractions."""
    return max(1, round(seconds))


def _run(program: str, *arguments: str) -> str:
    """Run a program in the checkout; returns its output, raises RuntimeError if it fails."""
    done = subprocess.run(
        [shutil.which(program) or program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, **QUIET},
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
