"""A Ray cluster on hosts of network namespaces: a head and nodes, each of one core."""

import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

import psutil

from tests.hosts.network import Host, network

NODES = 3
"""Beside the head."""
PORT = 6379
OBJECT_STORE_BYTES = 80_000_000
"""About the least that Ray takes; tasks of ours put nothing into it."""
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_usage_stats_enabled": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "1000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
}
"""Of the guide: callers have a token, and a node that is cut off is noticed in a few seconds."""
IDLE, BUSY = "ray::IDLE", "ray::_do"
"""The name of a process of Ray that waits for a task of ours, and of one that does it."""
WITHIN_S = 60


class RayCluster:
    """Hosts that run Ray until they are killed."""

    def __init__(self, hosts: list[Host], folder: Path) -> None:
        """`folder` gets the sockets of all hosts, so its path has to be short."""
        self.head, *self.nodes = hosts
        self.address = f"{self.head.address}:{PORT}"
        self.lost: list[Host] = []
        self._folder = folder
        self._cores = dict(zip(hosts, cycle(os.sched_getaffinity(0)), strict=False))

    def start(self) -> None:
        """Start the head, then the nodes; returns when all are there."""
        head = "--head", "--port", str(PORT), "--include-dashboard", "false"
        _wait(self._start(self.head, *head))
        self._start_nodes(self.nodes)

    def kill(self, node: Host) -> None:
        """Kill all of a node at once."""
        kill(node)
        self.lost.append(node)

    def cut(self, node: Host) -> None:
        """Cut off a node, which runs on."""
        node.cut()
        self.lost.append(node)

    def repair(self) -> None:
        """Start the lost nodes anew."""
        for node in self.lost:
            kill(node)
            node.join()
        self._start_nodes(self.lost)
        self.lost = []

    def stop_amid_task(self) -> tuple[Host, psutil.Process]:
        """Stop a process of any node by SIGSTOP, in the middle of a task."""
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until:
            found = [(node, process) for node in self.nodes for process in workers(node)]
            for node, process in found * 100:  # looking takes less time than finding
                with suppress(psutil.NoSuchProcess):
                    if is_busy(process):
                        process.suspend()
                        if is_busy(process):
                            return node, process
                        process.resume()
        raise AssertionError("no node does a task")

    def _start_nodes(self, nodes: list[Host]) -> None:
        """Start nodes, all at the same time."""
        for process in [self._start(node, "--address", self.address) for node in nodes]:
            _wait(process)

    def _start(self, host: Host, *words: str) -> subprocess.Popen[str]:
        """Start Ray on a core of ours: several threads link the images of an index in any order."""
        own = "--node-ip-address", host.address, "--temp-dir", str(self._folder / host.space)
        size = "--num-cpus", "1", "--object-store-memory", str(OBJECT_STORE_BYTES)
        ray = "-m", "ray.scripts.scripts", "start", "--include-log-monitor", "false"
        return subprocess.Popen(
            ["taskset", "-c", str(self._cores[host]), *host.python, *ray, *own, *size, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster while the block runs."""
    with network(1 + NODES) as hosts, tempfile.TemporaryDirectory(prefix="ray-") as folder:
        cluster = RayCluster(hosts, Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            kill(*hosts)


def workers(*nodes: Host) -> list[psutil.Process]:
    """The processes of nodes that do tasks."""
    found = []
    for number in [number for node in nodes for number in node.processes()]:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(number)
            if process.name() in (BUSY, IDLE):
                found.append(process)
    return found


def is_busy(process: psutil.Process) -> bool:
    """Whether a process does a task of ours; one that has ended does not."""
    try:
        return process.name() == BUSY
    except psutil.NoSuchProcess:
        return False


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Hold processes by SIGSTOP while the block runs; Ray may end those that have no task."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    yield
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def kill(*hosts: Host) -> None:
    """Send SIGKILL to all processes of hosts, until there is none."""
    while numbers := [number for host in hosts for number in host.processes()]:
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def _wait(process: subprocess.Popen[str]) -> None:
    told, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, told
