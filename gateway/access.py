"""Who may ask the gateway, and how often: whoever shows a key of Front.keys-file, if it is set."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from common.config import Gateway
from common.errors import Forbidden, Misdirected
from common.hosts import Hosts
from common.keys import SCHEME, Keys, Scope, check_scope
from common.rate_limit import RateLimiter


class Caller(NamedTuple):
    """Who asks."""

    name: str
    """Its key, or else its address: the rate is counted by it."""
    may_write: bool = True
    """Whether it may put images into the index."""


class Access:
    """Checks the keys of requests, and slows down whoever asks more often than its rate.

    With a rate, it belongs to one event loop.
    """

    def __init__(self, keys: Keys, gateway: Gateway) -> None:
        self._keys = keys
        self._hosts = Hosts(gateway.bound[0], (), has_keys=keys.are_on)
        self._rates = None
        if gateway.rate_per_s:
            clock = asyncio.get_running_loop().time
            self._rates = RateLimiter(gateway.rate_per_s, gateway.rate_burst, clock)
        self._patience_s = gateway.wait_ms / 1000

    def check(self, authorization: str, address: str, scope: Scope = "search") -> Caller:
        """The caller, by its key in a header or metadata, with a scheme or without.

        clip-client sends no scheme. Raises Unauthorized or Forbidden without a key for `scope`.
        """
        if " " not in authorization:
            authorization = f"{SCHEME} {authorization}"
        key = self._keys.find(authorization)
        if self._keys.are_on:
            check_scope(key, scope)
        return Caller(f"key {key.name}", "write" in key.scopes) if key else Caller(address)

    async def turn(self, caller: Caller) -> None:
        """Wait until a caller may send its next request; raises RateLimited."""
        if self._rates:
            await asyncio.sleep(self._rates.acquire(caller.name, self._patience_s))

    def check_http(
        self, headers: Mapping[str, str], address: str | None, scope: Scope = "search"
    ) -> Caller:
        """As `check`; also raise Forbidden or Misdirected for what a web site's page sends.

        A page may open a WebSocket to any address, 127.0.0.1 too, and read what comes.
        """
        if "Origin" in headers:
            raise Forbidden("pages of web sites may not ask this server")
        if not self._hosts.have(headers.get("Host")):
            raise Misdirected("this server does not answer for that host")
        return self.check(headers.get("Authorization", ""), address or "", scope)
