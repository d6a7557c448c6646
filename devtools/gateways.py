"""The gateway as a real process on free ports."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.services import Service, running


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
