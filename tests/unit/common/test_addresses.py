"""Addresses of servers, as config.json has them."""

from pathlib import Path

import pytest

from common.addresses import join_address, split_address
from common.config import parse
from common.errors import ConfigError
from common.services import addresses, commands


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [("10.0.0.1", 80, "10.0.0.1:80"), ("::1", 9000, "[::1]:9000"), ("search-0", 1, "search-0:1")],
)
def test_an_address_is_joined_and_split(host: str, port: int, address: str) -> None:
    """IPv6 stands in brackets."""
    assert join_address(host, port) == address
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address", ["host", "host:", ":80", "host:http", "host:70000", "http://host:80"]
)
def test_what_is_no_address_stops_the_start(address: str) -> None:
    """The section is named."""
    with pytest.raises(ConfigError, match=r"Middle\.server-list"):
        split_address(address, "Middle.server-list")
    with pytest.raises(ConfigError, match=r"Inference\.server-list"):
        parse(f'{{"Inference": {{"server-list": ["{address}"]}}}}')
    with pytest.raises(ConfigError, match=r"Front\.immich-upstream: .* is not host:port"):
        parse(f'{{"Front": {{"immich-upstream": "{address}"}}}}')


def test_one_of_several_servers_listens_at_its_entry() -> None:
    """Without a list there is the section's own address."""
    alone = parse("{}").middle
    several = parse('{"Middle": {"server-list": ["a:1", "b:2"]}}').middle

    assert alone.addresses == ("127.0.0.1:8001",)
    assert several.addresses == ("a:1", "b:2")
    assert (several.at(1).address, several.at(1).port) == ("b", 2)
    assert several.at(None) == several
    with pytest.raises(ConfigError, match="no entry 2"):
        several.at(2)


def test_an_entry_may_be_a_name_of_several_servers() -> None:
    """Those are started elsewhere; a search server has a place in the list, so no name will do."""
    several = parse('{"Middle": {"server-list": ["dns:middle:8001", "b:2"]}}')
    named = parse('{"Inference": {"server-list": ["dns:inference:8080"]}}')

    assert [1] == several.middle.own
    assert [None] == named.inference.own == several.inference.own
    assert ("127.0.0.1", 8080) == dict(addresses(named))["Inference.port"]
    assert {"middle-1", "inference"} <= commands(several, Path("config.json")).keys()
    for text, wrong in (
        ('{"Search": {"server-list": ["dns:search:9000"]}}', r"Search\.server-list"),
        ('{"Middle": {"server-list": ["dns:middle"]}}', r"Middle\.server-list: 'middle' is not"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            parse(text)
    with pytest.raises(ConfigError, match="'dns:middle:8001' is not host:port"):
        several.middle.at(0)
