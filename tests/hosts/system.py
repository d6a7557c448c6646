"""A whole system on four hosts, which find each other by name."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from devtools.collection import Collection
from devtools.processes import wait
from devtools.services import Service, starting, wait_until, with_section
from tests.hosts.name_server import NameServer, name_server
from tests.hosts.network import SUBNET, Host, network

SHARDS = 12
DRAIN_S = 2.0
"""Longer than a probe and a survey of middle take: who comes back is known before others go."""
SERVERS = 3
PLACES = {
    **{
        f"search-{server}-{replica}": (server + replica) % 3
        for server in range(3)
        for replica in range(2)
    },
    "search-3-0": 3,
    "search-3-1": 0,
    "middle-0": 0,
    "middle-1": 1,
    "inference-0": 1,
    "inference-1": 2,
    "front": 3,
}
"""The number of the host of each service."""


class System:
    """The services by name; `search-I-R` is replica R of entry I of the server list."""

    def __init__(
        self,
        hosts: list[Host],
        names: NameServer,
        config: dict[str, Any],
        folder: Path,
        stack: ExitStack,
    ) -> None:
        """The services run in `folder`, and `stack` ends them."""
        self.hosts = hosts
        self.names = names
        self.services: dict[str, Service] = {}
        self._config = config
        self._folder = folder
        self._stack = stack

    @property
    def front(self) -> Service:
        """The service that the public asks."""
        return self.services["front"]

    def start(self, *names: str, servers: int = SERVERS) -> None:
        """Start services, for a list of so many search servers; returns when all are ready."""
        listening = {
            name: self._stack.enter_context(self._starting(name, servers)) for name in names
        }
        for name, listens in listening.items():
            self.services[name] = service = listens()
            service.host = self.hosts[PLACES[name]].address
        for name in names:
            wait_until(lambda name=name: self._is_ready(name))  # type: ignore[misc]

    def stop(self, *names: str) -> None:
        """End services by SIGTERM; each must end well."""
        for name in names:
            self.services[name].terminate()
        for name in names:
            assert 0 == wait(self.services[name].process), self.services[name].output

    def roll(self, *names: str, servers: int = SERVERS) -> None:
        """Restart services, all at the same time."""
        self.stop(*names)
        self.start(*names, servers=servers)

    def said(self) -> str:
        """What the services have logged, for a test that fails."""
        return "".join(
            f"{name}: {line}"
            for name, service in self.services.items()
            for line in service.output[-50:]
        )

    def _is_ready(self, name: str) -> bool:
        return self.services[name].request("GET", "/ready").status == 200

    def _starting(self, name: str, servers: int) -> Any:
        kind, *numbers = name.split("-")
        words: list[str] = []
        config = _config(self._config, servers)
        if kind == "search":
            words = ["--server-index", numbers[0], "--replica", numbers[1]]
            config = with_section(config, "Search", listen=f"0.0.0.0:{_port(name)}")
        python = self.hosts[PLACES[name]].python
        return starting(f"{kind}/{kind}.py", config, *words, cwd=self._folder, python=python)


@contextmanager
def system(collection: Collection, deadline_ms: int) -> Iterator[System]:
    """All services but those of the fourth search server."""
    with ExitStack() as stack:
        hosts = stack.enter_context(network(4))
        named: dict[str, list[str]] = {}
        for name, place in PLACES.items():
            key = name if name.startswith("search") else name.partition("-")[0]
            named.setdefault(f"{key}.test", []).append(hosts[place].address)
        names = stack.enter_context(name_server(f"{SUBNET}.1", named))
        config = with_section(collection.config, "Middle", deadline_ms=deadline_ms)
        running = System(hosts, names, config, collection.folder, stack)
        running.start(*(name for name in PLACES if not name.startswith("search-3")))
        yield running
        for service in running.services.values():
            service.terminate()


def replicas(number: int, servers: int) -> list[str]:
    """The services that are replica `number` of the first `servers` entries."""
    return [f"search-{server}-{number}" for server in range(servers)]


def _config(config: dict[str, Any], servers: int) -> dict[str, Any]:
    listed = [
        [f"{name}.test:{_port(name)}" for name in (f"search-{server}-0", f"search-{server}-1")]
        for server in range(servers)
    ]
    config = with_section(config, "Search", server_list=listed, ef_search=1000)
    for section, port, keys in (
        ("Front", 8000, {"open": True}),
        ("Middle", 8001, {"server_list": ["dns:middle.test:8001"], "cache": "off"}),
        ("Inference", 8080, {"server_list": ["dns:inference.test:8080"]}),
    ):
        config = with_section(config, section, listen=f"0.0.0.0:{port}", **keys)
    return with_section(config, "Process", drain_wait_s=DRAIN_S)


def _port(name: str) -> int:
    _, server, replica = name.split("-")
    return 9000 + 10 * int(server) + int(replica)
