"""What a server binds may differ from the address by which others reach it."""

from contextlib import ExitStack

import pytest

from common.config import parse
from common.errors import ConfigError
from common.services import addresses
from devtools.services import starting

ELSEWHERE = "192.0.2.1"
"""An address for documentation, which no machine has (RFC 5737)."""
LISTEN = {"listen": "127.0.0.1:0"}


def test_services_bind_what_they_are_told_to_listen_on() -> None:
    """Each starts, though its address is that of another machine."""
    config = {
        section: {"address": ELSEWHERE, "port": 1, **LISTEN}
        for section in ("Front", "Middle", "Inference")
    }
    config["Search"] = {"server-list": [f"{ELSEWHERE}:1"], **LISTEN}
    with ExitStack() as stack:
        started = [
            stack.enter_context(starting(f"{name.lower()}/{name.lower()}.py", config))
            for name in config
        ]
        for listening in started:
            assert 200 == listening().request("GET", "/healthz").status


def test_what_is_bound_is_what_must_be_free() -> None:
    """The entry's address where nothing else is said; `listen` comes before `inner-port`."""
    listed = parse('{"Search": {"server-list": ["a:1", ["b:2", "c:3"]]}}').search
    inner = parse('{"Search": {"server-list": ["a:1"], "inner-port": 9}}').search
    both = parse('{"Search": {"server-list": ["a:1"], "inner-port": 9, "listen": "b:2"}}').search
    several = parse('{"Middle": {"server-list": ["a:1", "b:2"]}}')

    assert ("c", 3) == listed.bound(1, 1)
    assert ("0.0.0.0", 9) == inner.bound(0, 0)
    assert ("b", 2) == both.bound(0, 0)
    assert ("b", 2) == several.middle.at(1).bound
    assert ("b", 2) == dict(addresses(several))["Middle.server-list b:2"]
    wide = parse('{"Gateway": {"listen": "[::]:1"}, "Front": {"listen": "0.0.0.0:8"}}')
    assert ("::", 1) == dict(addresses(wide))["Gateway.listen"]
    assert ("::", 51001) == dict(addresses(wide))["Gateway.http-port"]
    assert ("0.0.0.0", 8) == dict(addresses(wide))["Front.listen"]


@pytest.mark.parametrize("section", ["Front", "Middle", "Inference", "Search", "Gateway"])
def test_what_is_no_address_to_listen_on_stops_the_start(section: str) -> None:
    """The key is named."""
    with pytest.raises(ConfigError, match=rf"{section}\.listen: '8000' is not host:port"):
        parse(f'{{"{section}": {{"listen": "8000"}}}}')
