"""A cluster whose shards have replicas, each behind a fault proxy."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.collection import Collection
from devtools.fault_proxy import Proxy, proxied
from devtools.oracle import Truth
from devtools.services import Service, metric, running, wait_until, with_section


@dataclass
class Replicated:
    """Services over one index; `replicas[shard][i]` is behind `proxies[shard][i]`."""

    collection: Collection
    config: dict[str, Any]
    truth: Truth
    inference: Service
    replicas: list[list[Service]]
    proxies: list[list[Proxy]]
    middle: Service
    front: Service
    stack: ExitStack

    def restart(self, shard: int, number: int) -> None:
        """Start an ended replica again, on another port behind the same proxy."""
        service = self.stack.enter_context(_search_server(self.collection, self.config, shard))
        self.replicas[shard][number] = service
        self.proxies[shard][number].target = service.address

    def terminate(self, shard: int, number: int) -> None:
        """Send SIGTERM to a replica and wait for its end; its exit status must be 0."""
        service = self.replicas[shard][number]
        service.ended = True
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0

    def is_out(self, shard: int, number: int) -> bool:
        """Whether middle has ejected a replica."""
        name = f'replica_out{{replica="{number}",server="search-{shard}"}}'
        return metric(self.middle, name) == 1

    def until_in(self, shard: int, number: int) -> None:
        """Wait until middle has readmitted a replica."""
        wait_until(lambda: not self.is_out(shard, number))


@contextmanager
def replicated(
    collection: Collection, shards: int, replicas: int, **middle_keys: Any
) -> Iterator[Replicated]:
    """Run all services. The prediction cache is off unless `middle_keys` set `cache`."""
    with ExitStack() as stack:
        config = with_section(collection.config, "Search", ef_search=1000)
        config = with_section(config, "Middle", port=0, **{"cache": "off", **middle_keys})
        config = with_section(config, "Front", port=0)
        config = with_section(config, "Inference", port=0)
        folder = collection.folder
        inference = stack.enter_context(running("inference/inference.py", config, cwd=folder))
        servers = [
            [
                stack.enter_context(_search_server(collection, config, shard))
                for _ in range(replicas)
            ]
            for shard in range(shards)
        ]
        proxies = [
            [stack.enter_context(proxied(server.address)) for server in row] for row in servers
        ]
        listed = [[proxy.address for proxy in row] for row in proxies]
        served = with_section(config, "Search", server_list=listed)
        served = with_section(served, "Inference", port=inference.port)
        middle = stack.enter_context(running("middle/middle.py", served, cwd=folder))
        served = with_section(served, "Middle", port=middle.port)
        front = stack.enter_context(running("front/front.py", served, cwd=folder))
        truth = Truth(collection, shards)
        yield Replicated(
            collection, config, truth, inference, servers, proxies, middle, front, stack
        )


@contextmanager
def _search_server(collection: Collection, config: dict[str, Any], shard: int) -> Iterator[Service]:
    alone = with_section(config, "Search", server_list=["127.0.0.1:0"])
    options = ("--index", str(shard))
    with running("search/search.py", alone, *options, cwd=collection.folder) as service:
        yield service


def descriptors(pid: int) -> int:
    """The number of files and sockets that a process and its descendants have open."""
    process = Path("/proc", str(pid))
    tasks = process.glob("task/*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return len(list((process / "fd").iterdir())) + sum(map(descriptors, children))
