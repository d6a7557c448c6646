"""Who may ask the gateway: whoever shows a key of Front.keys-file, if that is set."""

from common.errors import ConfigError
from common.internal_auth import is_beyond_loopback
from common.keys import SCHEME, Keys, check_scope


class Access:
    """Checks the keys of requests. CLIP-as-service's client sends a key without a scheme."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def check(self, authorization: str) -> None:
        """Raise Unauthorized or Forbidden unless a header or metadata has a key to search with."""
        if not self._keys.are_on:
            return
        if " " not in authorization:
            authorization = f"{SCHEME} {authorization}"
        check_scope(self._keys.find(authorization), "search")


def check_exposure(address: str, keys: Keys, is_open: bool) -> None:
    """Raise ConfigError if other machines can reach a gateway without keys that is not open."""
    if not is_beyond_loopback(address) or is_open or keys.any():
        return
    raise ConfigError(
        f"Gateway.address {address} can be reached by others, and there is no key: set"
        " Front.keys-file and run python front/keys.py NAME --scope search;"
        " or set Gateway.open to let everybody ask"
    )
