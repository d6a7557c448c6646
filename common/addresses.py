"""Addresses of servers as config.json has them: "host:port"."""

from common.errors import ConfigError

DNS = "dns:"
"""The start of an entry that names several servers: `dns:NAME:PORT`."""


def join_address(host: str, port: int) -> str:
    """Join a host and a port; an IPv6 host gets brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str, key: str = "Search.server-list") -> tuple[str, int]:
    """Split "host:port"; raises ConfigError that names the key of config.json."""
    host, _, port = address.rpartition(":")
    is_host = host and "/" not in host and not host.startswith(DNS)  # an http:// is none
    if not is_host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"config: {key}: {address!r} is not host:port")
    return host.strip("[]"), int(port)
