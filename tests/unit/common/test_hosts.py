"""The hosts that a front without keys answers for."""

import pytest

from common.config import Front
from common.hosts import Hosts


def hosts_of(front: Front, *, has_keys: bool) -> Hosts:
    return Hosts(front.address, front.hosts, has_keys=has_keys)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost.:8000",
        "photos.localhost:8000",
        "127.0.0.1:8000",
        "127.9.9.9",
        "[::1]",
        "[::1]:8000",
        "photos.example",
        "Photos.Example:443",
        "10.0.0.7",
        None,
    ],
)
def test_this_machine_and_what_is_listed_is_answered_for(host: str | None) -> None:
    """By any name or address of the machine itself, with a port or without."""
    front = Front(hosts=("photos.example", "10.0.0.7"))

    assert hosts_of(front, has_keys=False).have(host)


REBOUND = ["evil.example", "evil.example:8000", "localhost.evil.example", "evillocalhost"]
ODD = ["10.0.0.8", "[::2]:8000", "127.0.0.1.evil.example", "::1", "[::1", "@localhost", "a b"]


@pytest.mark.parametrize("host", REBOUND + ODD)
def test_another_host_is_not_answered_for(host: str) -> None:
    """Kind J: the name of a site that leads here, or what is no host."""
    assert not hosts_of(Front(), has_keys=False).have(host)
    assert not hosts_of(Front(hosts=("photos.example",), open=True), has_keys=False).have(host)


@pytest.mark.parametrize("host", REBOUND)
def test_with_keys_or_for_all_machines_every_host_is_answered_for(host: str) -> None:
    """A site has no key; and nobody knows the names of a server that others reach."""
    assert hosts_of(Front(), has_keys=True).have(host)
    assert hosts_of(Front(address="0.0.0.0", open=True), has_keys=False).have(host)
