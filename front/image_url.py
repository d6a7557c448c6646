"""The parts of an image_url, and the refusal of URLs that must not be fetched."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from yarl import URL

from common.errors import BadRequest

MAX_URL = 2000
PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9_][a-z0-9_.-]*|[0-9a-f]*:[0-9a-f:.]+")
"""A name in ASCII, an IPv4 address in any spelling, or an IPv6 address without a zone."""
SAFE = "/?%:@!$&'()*+,;=~[]|"
"""Characters that stay as they are in a path; all others are percent-encoded."""


class Target(NamedTuple):
    """The parts of a URL; `path` includes the query string."""

    scheme: str
    host: str
    port: int
    path: str

    def asked_of(self, host: str) -> URL:
        """The URL with the same path on another host."""
        return URL(f"{self.scheme}://{host}:{self.port}{self.path}", encoded=True)

    def host_header(self) -> str:
        """The host, and the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def refused(reason: str) -> BadRequest:
    """The error for a URL that must not be fetched."""
    return BadRequest(f"this image_url is not fetched: {reason}", "image_url_refused")


def read_url(url: str, ports: Sequence[int]) -> Target:
    """The parts of a URL; raises BadRequest if the URL must not be fetched."""
    if len(url) > MAX_URL or re.search(r"[\x00-\x20\x7f\\]", url):
        raise refused(f"it has over {MAX_URL} characters, or some that no address has")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii").rstrip(".").lower()
        port = parts.port if parts.port is not None else PORTS.get(parts.scheme, 0)
        path = "?".join(
            quote(part, SAFE, errors="surrogateescape")  # a redirect may hold any bytes
            for part in (parts.path or "/", parts.query)
            if part
        )
    except ValueError:
        raise refused("it is malformed") from None
    if parts.scheme not in PORTS:
        raise refused("only http and https are")
    if "@" in parts.netloc:
        raise refused("it holds a name or a password")
    if not HOST.fullmatch(host):
        raise refused("its host is malformed")
    if port not in ports:
        raise refused(f"only these ports are: {', '.join(map(str, ports))}")
    return Target(parts.scheme, host, port, path)
