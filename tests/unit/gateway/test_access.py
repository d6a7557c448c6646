"""Who may ask the gateway: by key, by host, and never a web site's page."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from common.config import Gateway
from common.errors import ConfigError, Forbidden, Misdirected, RateLimited, Unauthorized
from common.keys import Key, Keys, check_exposure, hash_of
from gateway.access import Access, Caller
from gateway.grpc_server import address_of

ADDRESS = "192.0.2.1"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """One key that is good for searching, and one for writing, too."""
    path = tmp_path / "keys.json"
    anna = Key("anna", hash_of("secret"), ("search",))
    shop = Key("shop", hash_of("of the shop"), ("search", "write"))
    path.write_bytes(msgspec.json.encode([anna, shop]))
    return Keys(path)


@pytest.mark.parametrize("shown", ["secret", "Bearer secret", "bearer secret"])
def test_a_key_may_come_with_a_scheme_or_without(keys: Keys, shown: str) -> None:
    """clip-client sends it bare. The caller is the key, or else the address."""
    assert Access(keys, Gateway()).check(shown, ADDRESS) == Caller("key anna", may_write=False)
    assert Access(Keys(None), Gateway()).check(shown, ADDRESS) == Caller(ADDRESS)


def test_a_key_for_writing_may_put_images(keys: Keys) -> None:
    """Where there are keys; elsewhere everybody may."""
    assert Access(keys, Gateway()).check("Bearer of the shop", ADDRESS).may_write


def test_without_a_key_nobody_is_answered(keys: Keys) -> None:
    """Nor with another, nor for what the key is not good for."""
    access = Access(keys, Gateway())
    for shown in ("", "other", "Basic secret"):
        with pytest.raises(Unauthorized):
            access.check(shown, ADDRESS)
    with pytest.raises(Forbidden):
        access.check("secret", ADDRESS, "admin")


def test_a_key_counts_from_the_next_request_on(keys: Keys, tmp_path: Path) -> None:
    """Also one that was taken away; a broken file changes nothing."""
    access, path = Access(keys, Gateway()), tmp_path / "keys.json"
    path.write_text("broken")
    access.check("secret", ADDRESS)
    path.write_text("[]")
    with pytest.raises(Unauthorized):
        access.check("secret", ADDRESS)


def test_a_web_site_s_page_is_refused() -> None:
    """By its origin, or by the name that it has for this machine."""
    access = Access(Keys(None), Gateway())
    access.check_http({"Host": "127.0.0.1:51001"}, ADDRESS)
    with pytest.raises(Forbidden):
        access.check_http({"Host": "127.0.0.1:51001", "Origin": "https://evil.example"}, None)
    with pytest.raises(Misdirected):
        access.check_http({"Host": "evil.example"}, ADDRESS)


async def test_who_asks_too_often_waits_and_then_is_refused() -> None:
    """A caller alone; over `wait-ms`, it is told when to come back."""
    access, loop = (
        Access(Keys(None), Gateway(rate_per_s=2, rate_burst=3)),
        asyncio.get_running_loop(),
    )
    since = loop.time()
    for _ in range(63):
        await access.turn(Caller(ADDRESS))
    assert loop.time() - since == pytest.approx(30)
    waiting = [asyncio.create_task(access.turn(Caller(ADDRESS))) for _ in range(60)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited) as refused:
        await access.turn(Caller(ADDRESS))
    assert refused.value.retry_after_s == 1
    await access.turn(Caller("192.0.2.2"))
    assert loop.time() - since == pytest.approx(30)
    await asyncio.gather(*waiting)
    assert loop.time() - since == pytest.approx(60)


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:192.0.2.1:50000", ADDRESS), ("ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1")],
)
def test_a_caller_over_grpc_is_its_address(peer: str, address: str) -> None:
    """Without the port, as over HTTP."""
    assert address_of(peer) == address


def test_others_reach_it_only_with_keys_or_where_it_is_open(keys: Keys) -> None:
    """A start without both is refused, and says what to do."""
    check_exposure("Gateway", "127.0.0.1", Keys(None), False, ("search",))
    check_exposure("Gateway", "0.0.0.0", keys, False, ("search",))
    check_exposure("Gateway", "0.0.0.0", Keys(None), True, ("search",))
    with pytest.raises(ConfigError, match=r"Front\.keys-file"):
        check_exposure("Gateway", "0.0.0.0", Keys(None), False, ("search",))
