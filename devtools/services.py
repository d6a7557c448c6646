"""Our programs as real processes on free ports; each must start, and must end well."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import urllib3

from devtools.fork_server import may_be_forked, start_forked
from devtools.ports import free_ports as free_ports
from devtools.processes import STOP_S as STOP_S
from devtools.processes import Process, reading, start, wait
from devtools.processes import children as children

WITHIN_S = 30
CHECKOUT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable,)
IN_TESTS = "PYTEST_VERSION" in os.environ  # pytest sets it

http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=30))


class Running(Protocol):
    """What has a process that was started here."""

    @property
    def process(self) -> Process:
        """The process."""


@dataclass
class Service:
    """A process that listens."""

    process: Process
    port: int
    host: str = "127.0.0.1"
    output: list[str] = field(default_factory=list)
    ended: bool = False
    """Whether the test itself ended the process."""
    told: bool = False
    """Whether it was sent SIGTERM."""

    @property
    def address(self) -> str:
        """Where it listens, "host:port"."""
        return f"{self.host}:{self.port}"

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """A request to this service; the reply's body is read."""
        return http.request(method, f"http://{self.address}{path}", **options)

    def get(self, path: str, **options: Any) -> Any:
        """The JSON reply of a path; its status must be 200."""
        response = self.request("GET", path, **options)
        assert response.status == 200, response.data
        return response.json()

    def post(self, path: str, message: Any) -> Any:
        """The JSON reply to a JSON message; its status must be 200."""
        response = self.request("POST", path, json=message)
        assert response.status == 200, response.data
        return response.json()

    def terminate(self) -> None:
        """Send SIGTERM, once: a second SIGTERM would abort the requests in flight."""
        if not self.told:
            self.process.send_signal(signal.SIGTERM)
        self.told = True

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.ended = True
        self.process.kill()
        self.process.wait()


@contextmanager
def running(
    script: str, config: dict[str, Any], *arguments: str, **options: Any
) -> Iterator[Service]:
    """Run a script while the block runs, with its config on standard input; it must end well."""
    with starting(script, config, *arguments, **options) as listening:
        yield listening()


@contextmanager
def starting(
    script: str,
    config: dict[str, Any],
    *arguments: str,
    cwd: Path = CHECKOUT,
    module: bool = False,
    checkout: Path = CHECKOUT,
    python: Sequence[str] = (),
) -> Iterator[Callable[[], Service]]:
    """Start a script as `running` does; yields a function that waits until the service listens.

    So several services can start at the same time. `python` runs the script of `checkout`; without
    it, a script of this checkout is forked in tests, and PYTHON runs it elsewhere.
    """
    program = ["-m", script] if module else [str(checkout / script)]
    words = [*program, "--config", "-", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if IN_TESTS and checkout == CHECKOUT and not (module or python) and may_be_forked(environment):
        process: Process = start_forked(words, json.dumps(config), cwd, environment)
    else:
        process = start([*(python or PYTHON), *words], json.dumps(config), cwd, environment)
    with reading(process) as (output, port):
        service = Service(process, 0, output=output)

        def listening() -> Service:
            service.port = port()
            return service

        try:
            yield listening
        finally:
            service.terminate()
            status = wait(process)
        assert service.ended or status == 0, f"{script} ended with {status}: {''.join(output)}"


@contextmanager
def hanging(service: Running) -> Iterator[None]:
    """Stop a server and its workers by SIGSTOP: connections are made, and nothing is answered."""
    processes = [service.process.pid, *children(service.process.pid)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def kill_with_workers(service: Service) -> None:
    """Send SIGKILL to a server and its workers, so that nothing of it answers any more."""
    workers = children(service.process.pid)
    service.kill()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)


def metric(service: Service, name: str) -> float:
    """The value of a metric; 0 before the first count."""
    text = service.request("GET", "/metrics").data.decode()
    found = re.search(rf"^clip_search_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until `holds` is true, for at most WITHIN_S."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


def run_command(
    script: str, config: dict[str, Any], *arguments: str, cwd: Path = CHECKOUT
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, with a config on standard input."""
    return subprocess.run(
        [sys.executable, str(CHECKOUT / script), "--config", "-", *arguments],
        input=json.dumps(config),
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
        check=False,
    )


@dataclass
class Cluster:
    """All services over one index."""

    config: dict[str, Any]
    front: Service
    middle: Service
    inference: Service
    search: list[Service]

    @property
    def pids(self) -> dict[str, list[int]]:
        """The ids of the processes that were started, by service."""
        single = {"front": self.front, "middle": self.middle, "inference": self.inference}
        found = {name: [service.process.pid] for name, service in single.items()}
        return {**found, "search": [service.process.pid for service in self.search]}


def with_section(config: dict[str, Any], section: str, **keys: Any) -> dict[str, Any]:
    """A copy of a config with some keys of one section set; `_` stands for `-`."""
    changed = {key.replace("_", "-"): value for key, value in keys.items()}
    return {**config, section: {**config.get(section, {}), **changed}}


@contextmanager
def cluster(
    config: dict[str, Any],
    servers: int,
    cwd: Path,
    held: Sequence[str] = (),
    inference: Service | None = None,
    checkout: Path = CHECKOUT,
    replicas: int = 1,
) -> Iterator[Cluster]:
    """Start all services, with `servers` search servers of so many replicas each.

    They hold the shards in `held`, such as "0,1", else those that are dealt to them. A given
    `inference` is used, not started.
    """
    start = partial(running, cwd=cwd, checkout=checkout)
    config = with_section(config, "Search", server_list=["127.0.0.1:0"] * servers)
    for section in ("Inference", "Middle", "Front"):
        config = with_section(config, section, port=0)
    shared = inference is not None
    with ExitStack() as stack:
        started = []
        for number in (number for number in range(servers) for _ in range(replicas)):
            index = ("--index", held[number]) if held else ()
            options = ("--server-index", str(number), *index)
            server = starting("search/search.py", config, *options, cwd=cwd, checkout=checkout)
            started.append(stack.enter_context(server))
        if inference is None:
            inference = stack.enter_context(start("inference/inference.py", config))
        search = [listening() for listening in started]
        config = with_section(config, "Inference", port=inference.port)
        flat = [server.address for server in search]
        groups = [flat[i : i + replicas] for i in range(0, len(flat), replicas)]
        config = with_section(config, "Search", server_list=groups if replicas > 1 else flat)
        middle = stack.enter_context(start("middle/middle.py", config))
        config = with_section(config, "Middle", port=middle.port)
        front = stack.enter_context(start("front/front.py", config))
        config = with_section(config, "Front", port=front.port)
        # At the end no request is in flight, so all services may end at the same time.
        for service in (front, middle, *search, *([] if shared else [inference])):
            stack.callback(service.terminate)
        yield Cluster(config, front, middle, inference, search)
