"""Who may ask the gateway: whoever shows a key of Front.keys-file, if that is set."""

from collections.abc import Mapping

from common.config import Gateway
from common.errors import Forbidden, Misdirected
from common.hosts import Hosts
from common.keys import SCHEME, Keys, Scope


class Access:
    """Checks the keys of requests. CLIP-as-service's client sends a key without a scheme."""

    def __init__(self, keys: Keys, gateway: Gateway) -> None:
        self._keys = keys
        self._hosts = Hosts(gateway.address, (), has_keys=keys.are_on)

    def check(self, authorization: str, scope: Scope = "search") -> None:
        """Raise Unauthorized or Forbidden unless a header or metadata has a key for `scope`."""
        if " " not in authorization:
            authorization = f"{SCHEME} {authorization}"
        self._keys.check(authorization, scope)

    def check_http(self, headers: Mapping[str, str], scope: Scope = "search") -> None:
        """As `check`; also raise Forbidden or Misdirected for what a web site's page sends.

        A page may open a WebSocket to any address, 127.0.0.1 too, and read what comes.
        """
        if "Origin" in headers:
            raise Forbidden("pages of web sites may not ask this server")
        if not self._hosts.have(headers.get("Host")):
            raise Misdirected("this server does not answer for that host")
        self.check(headers.get("Authorization", ""), scope)
