"""The hosts that a server without keys answers for, against DNS rebinding.

A web site can have its own name lead to 127.0.0.1. For a browser, an answer from there is then one
of that site, whose scripts may read it. But the browser names the site in the header Host.
"""

from collections.abc import Iterable

from common.internal_auth import is_beyond_loopback


class Hosts:
    """Says for which hosts a server answers: all, or this machine and those of a list."""

    def __init__(self, address: str, listed: Iterable[str], *, has_keys: bool) -> None:
        """With keys, all: a site has none. Without, all only if other machines are let in.

        `address` is the one that the server listens on.
        """
        self._listed = {host.lower() for host in listed}
        is_for_all = not self._listed and is_beyond_loopback(address)
        self.are_checked = not (has_keys or is_for_all)

    def have(self, host: str | None) -> bool:
        """Whether the server answers for a header Host; HTTP/1.0 has none, and no browser."""
        if not host or not self.are_checked:
            return True
        name = _name_in(host)
        if name == "localhost" or name.endswith(".localhost") or name in self._listed:
            return True
        return not is_beyond_loopback(name)


def _name_in(host: str) -> str:
    """The name or address in a header Host, in lower case, without port, brackets and last dot."""
    name, colon, _port = host.rpartition(":")
    if not colon or host.endswith("]"):  # [::1] has colons, and no port
        name = host
    return name.strip("[]").rstrip(".").lower()
