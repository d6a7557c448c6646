"""The services of a configuration: how each is started, and where each listens."""

import sys
from pathlib import Path

from common.config import CHECKOUT, Config, Listed, Search, Server
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
    found: dict[str, list[str]] = {}
    for index in section.own:
        if index is None:
            found[name] = [script]
        else:
            found[f"{name}-{index}"] = [script, "--server-index", str(index)]
    return found


def addresses(config: Config) -> list[tuple[str, tuple[str, int]]]:
    """For each service, the key of config.json that sets its address, and what it binds."""
    search = config.search
    found = []
    if search.server_list:
        found.append((_key("Front", config.front, "port"), config.front.bound))
    if gateway := config.gateway:
        found.append(("Gateway.http-port", (gateway.bound[0], gateway.http_port)))
        if "grpc" in gateway.protocols:
            found.append((_key("Gateway", gateway, "port"), gateway.bound))
    sections: list[tuple[str, Listed]] = [("Middle", config.middle)]
    if not config.inference.key_file:
        sections.append(("Inference", config.inference))
    for name, section in sections:
        for index in section.own:
            otherwise = "port" if index is None else f"server-list {section.server_list[index]}"
            found.append((_key(name, section, otherwise), section.at(index).bound))
    for server in range(len(search.server_list)):
        for replica, address in enumerate(search.replicas(server)):
            key = _key("Search", search, f"server-list {address}")
            found.append((key, search.bound(server, replica)))
    return found


def _key(name: str, section: Server | Search, otherwise: str) -> str:
    """The key of config.json that says what a server binds."""
    return f"{name}.{'listen' if section.listen else otherwise}"


def check_ports(config: Config) -> None:
    """Raise ConfigError, naming each key to change, when ports are taken or named twice."""
    if failures := port_failures(addresses(config)):
        raise ConfigError(f"\n{ERROR}".join(failures))
