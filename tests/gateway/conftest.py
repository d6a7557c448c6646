"""A gateway over the starter and the photographs that ship."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.services import CHECKOUT, Cluster, Service, cluster, run_command, running

SAMPLES = CHECKOUT / "samples"


@dataclass
class RunningGateway:
    """A gateway and its two ports."""

    service: Service

    @property
    def grpc(self) -> str:
        """The address of gRPC."""
        (line,) = [line for line in self.service.output if line.startswith("grpc ")]
        return f"127.0.0.1:{line.split()[1]}"

    def url(self, scheme: str) -> str:
        """The address as clip-client wants it."""
        address = self.grpc if scheme.startswith("grpc") else self.service.address
        return f"{scheme}://{address}"


@contextmanager
def gateway(config: dict[str, Any], cwd: Path, **keys: Any) -> Iterator[RunningGateway]:
    """Run a gateway; keys of its section have `_` for `-`."""
    section = {key.replace("_", "-"): value for key, value in keys.items()}
    config = {**config, "Gateway": {"port": 0, "http-port": 0, **section}}
    with running("gateway/gateway.py", config, cwd=cwd) as service:
        yield RunningGateway(service)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of the samples."""
    root = tmp_path_factory.mktemp("gateway")
    done = run_command("prepare/prepare.py", {}, str(SAMPLES), cwd=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def services(root: Path) -> Iterator[Cluster]:
    """All services over it, which no test stops."""
    with cluster({}, 1, root) as started:
        yield started


@pytest.fixture(scope="module")
def served(services: Cluster, root: Path) -> Iterator[RunningGateway]:
    """A gateway before them."""
    with gateway(services.config, root) as started:
        yield started
