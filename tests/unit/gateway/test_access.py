"""Who may ask the gateway: by key, by host, and never a web site's page."""

from pathlib import Path

import msgspec
import pytest

from common.config import Gateway
from common.errors import ConfigError, Forbidden, Misdirected, Unauthorized
from common.keys import Key, Keys, check_exposure, hash_of
from gateway.access import Access


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """One key, good for searching."""
    path = tmp_path / "keys.json"
    path.write_bytes(msgspec.json.encode([Key("anna", hash_of("secret"), ("search",))]))
    return Keys(path)


@pytest.mark.parametrize("shown", ["secret", "Bearer secret", "bearer secret"])
def test_a_key_may_come_with_a_scheme_or_without(keys: Keys, shown: str) -> None:
    """clip-client sends it bare."""
    Access(keys, Gateway()).check(shown)


def test_without_a_key_nobody_is_answered(keys: Keys) -> None:
    """Nor with another, nor for what the key is not good for."""
    access = Access(keys, Gateway())
    for shown in ("", "other", "Basic secret"):
        with pytest.raises(Unauthorized):
            access.check(shown)
    with pytest.raises(Forbidden):
        access.check("secret", "admin")
    Access(Keys(None), Gateway()).check("")


def test_a_key_counts_from_the_next_request_on(keys: Keys, tmp_path: Path) -> None:
    """Also one that was taken away; a broken file changes nothing."""
    access, path = Access(keys, Gateway()), tmp_path / "keys.json"
    path.write_text("broken")
    access.check("secret")
    path.write_text("[]")
    with pytest.raises(Unauthorized):
        access.check("secret")


def test_a_web_site_s_page_is_refused() -> None:
    """By its origin, or by the name that it has for this machine."""
    access = Access(Keys(None), Gateway())
    access.check_http({"Host": "127.0.0.1:51001"})
    with pytest.raises(Forbidden):
        access.check_http({"Host": "127.0.0.1:51001", "Origin": "https://evil.example"})
    with pytest.raises(Misdirected):
        access.check_http({"Host": "evil.example"})


def test_others_reach_it_only_with_keys_or_where_it_is_open(keys: Keys) -> None:
    """A start without both is refused, and says what to do."""
    check_exposure("Gateway", "127.0.0.1", Keys(None), False, ("search",))
    check_exposure("Gateway", "0.0.0.0", keys, False, ("search",))
    check_exposure("Gateway", "0.0.0.0", Keys(None), True, ("search",))
    with pytest.raises(ConfigError, match=r"Front\.keys-file"):
        check_exposure("Gateway", "0.0.0.0", Keys(None), False, ("search",))
