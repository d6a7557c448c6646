"""The programs that make the load, ab and wrk, and what they measured."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import ConfigError

CONCURRENCY = 128
WRK_THREADS = 2
WRK_SECONDS = 8
AB_REQUESTS = 10_000
AB_WARM_UP = 500
WRK_MAX_PER_SECOND = 6000
"""Queries kept ready for wrk: about twice of what a hello takes on two cores."""

LUA = Path(__file__).with_name("unique.lua")
JSON = "application/json"


class Measured(NamedTuple):
    """One run of one program."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    """Requests without an answer, and answers other than 2xx."""


def require_programs() -> None:
    """Raise ConfigError, saying how to get them, when ab or wrk is missing."""
    missing = [name for name in ("ab", "wrk") if not shutil.which(name)]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} not found; Debian: apt-get install apache2-utils wrk"
        )


def ab(url: str, requests: int, body: Path | None = None) -> Measured:
    """Send the same request over and over with ApacheBench; a POST when there is a body."""
    post = ["-p", str(body), "-T", JSON] if body else []
    # -l: answers may differ in length, as their times and request ids do
    how = ["-k", "-l", "-q", "-c", str(min(CONCURRENCY, requests)), "-n", str(requests)]
    output = _run("ab", *how, *post, url)

    def number(pattern: str) -> float:
        found = re.search(rf"^\s*{pattern}\s+([0-9.]+)", output, re.MULTILINE)
        return float(found[1]) if found else 0.0

    return Measured(
        number("Requests per second:"),
        number("50%"),
        number("99%"),
        int(number("Failed requests:") + number("Non-2xx responses:")),
    )


def repeated(url: str, body: Path | None = None) -> Callable[[], Measured]:
    """A load that sends one request over and over, once that is warm."""
    ab(url, AB_WARM_UP, body)
    return lambda: ab(url, AB_REQUESTS, body)


def search_body(text: str) -> dict[str, Any]:
    """What middle takes, and the others that stand beside it as far as they can."""
    return {"text": text}


def wrk(
    url: str,
    texts: Iterator[str],
    folder: Path,
    body: Callable[[str], dict[str, Any]] = search_body,
    seconds: int = WRK_SECONDS,
) -> Measured:
    """POST texts that are never repeated with wrk; `folder` is for the files that it reads."""
    mine = itertools.islice(texts, WRK_MAX_PER_SECOND * seconds)
    bodies = (json.dumps(body(text)).encode() for text in mine)
    return wrk_bodies(url, bodies, folder, seconds=seconds)


def wrk_bodies(
    url: str,
    bodies: Iterable[bytes],
    folder: Path,
    *,
    content_type: str = JSON,
    connections: int = CONCURRENCY,
    seconds: int = WRK_SECONDS,
    again: bool = False,
) -> Measured:
    """POST bodies with wrk, each once, or with `again` from the first when all were sent."""
    prefix = folder / "bodies"
    threads = min(WRK_THREADS, connections)
    paths = [prefix.with_suffix(f".{thread}") for thread in range(threads)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for file, body in zip(itertools.cycle(files), bodies):
            file.write(b"%d\n%b" % (len(body), body))
    how = [f"-c{connections}", f"-t{threads}", f"-d{seconds}s", "--timeout=30s"]
    told_lua = [str(prefix), content_type, *["again"] * again]
    output = _run("wrk", *how, "--latency", "-s", str(LUA), url, "--", *told_lua)
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return Measured(
        1e6 * (told["requests"] - told["errors"]) / told["duration_us"],
        told["p50_us"] / 1000,
        told["p99_us"] / 1000,
        # wrk counts no timeout for those that are never answered.
        told["errors"] if told["requests"] else CONCURRENCY,
    )


def _run(program: str, *arguments: str) -> str:
    """The output of a program, which must end well."""
    path = shutil.which(program) or program
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
