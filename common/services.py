"""The services of a configuration: how each is started, and where each listens."""

import sys
from pathlib import Path

from common.addresses import split_address
from common.config import CHECKOUT, Config, Listed
from common.errors import ConfigError
from common.preflight import port_failures
from common.process import ERROR, SUPERVISED


def commands(config: Config, config_file: Path) -> dict[str, list[str]]:
    """The command of each service of a configuration, by the service's name.

    With Inference.key-file, the operator starts TorchServe, and there is no command for inference.
    Without search servers there is nothing to search, and no command for front.
    """
    search = config.search
    found: dict[str, list[str]] = {}
    if not config.inference.key_file:
        found |= _listed("inference", config.inference)
    for server in range(len(search.server_list)):
        for replica in range(len(search.replicas(server))):
            which = ["--server-index", str(server), "--replica", str(replica)]
            found[f"search-{server}-{replica}"] = ["search/search.py", *which]
    found |= _listed("middle", config.middle)
    if search.server_list:
        found["front"] = ["front/front.py"]
    if config.gateway:
        found["gateway"] = ["gateway/gateway.py"]
    common = ["--config", str(config_file), SUPERVISED]
    return {
        name: [sys.executable, str(CHECKOUT / script), *options, *common]
        for name, (script, *options) in found.items()
    }


def _listed(name: str, section: Listed) -> dict[str, list[str]]:
    """The commands of all servers of a section, by their names."""
    script = f"{name}/{name}.py"
    if not section.server_list:
        return {name: [script]}
    return {
        f"{name}-{index}": [script, "--server-index", str(index)]
        for index in range(len(section.server_list))
    }


def addresses(config: Config) -> list[tuple[str, tuple[str, int]]]:
    """For each service, the key of config.json that sets its address, and the address."""
    search = config.search
    found = []
    if search.server_list:
        found.append(("Front.port", (config.front.address, config.front.port)))
    if gateway := config.gateway:
        found.append(("Gateway.http-port", (gateway.address, gateway.http_port)))
        if "grpc" in gateway.protocols:
            found.append(("Gateway.port", (gateway.address, gateway.port)))
    sections: list[tuple[str, Listed]] = [("Middle", config.middle)]
    if not config.inference.key_file:
        sections.append(("Inference", config.inference))
    for name, section in sections:
        for address in section.addresses:
            key = f"{name}.server-list {address}" if section.server_list else f"{name}.port"
            found.append((key, split_address(address)))
    for server in range(len(search.server_list)):
        for replica in search.replicas(server):
            found.append((f"Search.server-list {replica}", split_address(replica)))
    return found


def check_ports(config: Config) -> None:
    """Raise ConfigError, naming each key to change, when ports are taken or named twice."""
    if failures := port_failures(addresses(config)):
        raise ConfigError(f"\n{ERROR}".join(failures))
