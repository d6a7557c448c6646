"""Hosts on one machine: network namespaces behind a bridge. Everything is deleted at the end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

NUMBER = os.getpid()
SUBNET = f"10.86.{NUMBER % 256}"
"""Other test processes of this machine have other namespaces, and mostly another subnet."""
RESOLV = Path("/etc/netns")
"""`ip netns exec` puts the files of its folder for a namespace over those of /etc."""


@dataclass(frozen=True)
class Host:
    """A host; processes run on it with `python` in place of Python."""

    number: int

    @property
    def space(self) -> str:
        """Its network namespace."""
        return f"cs{NUMBER}-{self.number}"

    @property
    def link(self) -> str:
        """Our end of its cable."""
        return f"cs{NUMBER}v{self.number}"

    @property
    def address(self) -> str:
        """Its IP address."""
        return f"{SUBNET}.{10 + self.number}"

    @property
    def python(self) -> list[str]:
        """The command that runs Python there."""
        return ["ip", "netns", "exec", self.space, sys.executable]

    def processes(self) -> list[int]:
        """The ids of the processes that run there."""
        return [int(number) for number in ip("netns", "pids", self.space).split()]

    def cut(self) -> None:
        """Pull the cable: what is sent is lost, without an error."""
        ip("link", "set", self.link, "down")

    def join(self) -> None:
        """Plug the cable in again."""
        ip("link", "set", self.link, "up")


def ip(*words: str) -> str:
    """What the program ip prints; raises CalledProcessError."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def need_namespaces() -> None:
    """Skip, with the reason, where no network namespace can be made; fail in CI without `ip`."""
    if shutil.which("ip") is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("the program ip (iproute2) is not here")
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    try:
        with network(1):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this kernel allows no network namespaces: {getattr(error, 'stderr', error)}")


@contextmanager
def network(count: int) -> Iterator[list[Host]]:
    """Hosts that reach each other and us; we are `SUBNET`.1, where they look for a name server."""
    bridge = f"cs{NUMBER}br"
    with ExitStack() as stack:
        ip("link", "add", bridge, "type", "bridge")
        stack.callback(ip, "link", "del", bridge)
        ip("addr", "add", f"{SUBNET}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        hosts = [Host(number) for number in range(count)]
        for host in hosts:
            _add(host, bridge, stack)
        yield hosts


def _add(host: Host, bridge: str, stack: ExitStack) -> None:
    ip("netns", "add", host.space)
    stack.callback(ip, "netns", "del", host.space)
    folder = RESOLV / host.space
    folder.mkdir(parents=True)
    stack.callback(shutil.rmtree, folder)
    (folder / "resolv.conf").write_text(f"nameserver {SUBNET}.1\n")
    names = "type", "veth", "peer", "name", "eth0", "netns", host.space
    ip("link", "add", host.link, *names)
    ip("link", "set", host.link, "master", bridge, "up")
    ip("-n", host.space, "addr", "add", f"{host.address}/24", "dev", "eth0")
    for name in ("eth0", "lo"):
        ip("-n", host.space, "link", "set", name, "up")
