"""A real Redis server, for the prediction cache and for the log of the live index."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from devtools.services import free_ports, wait_until
from middle.redis_store import PREFIX

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""What the log needs."""


@dataclass
class RedisServer:
    """A redis-server."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Redis:
        return Redis.from_url(self.url)

    def names(self) -> list[bytes]:
        with self.client as client:
            return list(client.scan_iter(f"{PREFIX}*"))


@contextmanager
def redis_server(
    folder: Path, port: int | None = None, options: Sequence[str] = ()
) -> Iterator[RedisServer]:
    """Run redis-server; where there is none skip, or fail under CI=true.

    It keeps nothing on disk unless its `options` say so, such as DURABLE.
    """
    program = shutil.which("redis-server")
    if program is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("redis-server is not installed (package redis-server)")
    port = port or free_ports(1)[0]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    process = subprocess.Popen([*command, str(folder), *options], stdout=subprocess.DEVNULL)
    try:
        server = RedisServer(port, process)
        wait_until(lambda: pings(server))
        yield server
    finally:
        process.kill()
        process.wait()


def pings(server: RedisServer) -> bool:
    with server.client as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False
