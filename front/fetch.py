"""Fetches the images that `image_url` names, from public addresses of the Internet alone.

A name is looked up once, all its addresses must be public, and the connection goes to one of
them: what the name leads to a moment later (DNS rebinding) does not matter. Each redirect is
checked as the first address was. What is told of a failure is always the same, so that nobody
learns from us what listens where.
"""

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import httptools

from common.batcher import Batcher, Gather
from common.config import Front
from common.connection import RECEIVE_BYTES, BrokenReply, Reading, Reply, seconds_left
from common.errors import BadRequest, DeadlineExceeded
from front.addresses import is_public, look_up

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Fetches under way, and as many may wait: few of the threads that answer are ever held up."""
MAX_REDIRECTS = 3
MAX_HEAD_BYTES = 2**16
MAX_URL = 2000
PORTS = {"http": 80, "https": 443}
MOVED = (301, 302, 303, 307, 308)
HOST = re.compile(r"[a-z0-9_][a-z0-9_.-]*|[0-9a-f]*:[0-9a-f:.]+")
"""A name in ASCII, an IPv4 address in any spelling, or an IPv6 address without a zone."""
SAFE = "/?%:@!$&'()*+,;=~[]|"
"""What stays as it is in a path; all other characters are percent-encoded."""


class Internet(NamedTuple):
    """How names become addresses, which of these are allowed, and whose certificates are good."""

    look_up: Callable[[str], Sequence[str]] = look_up
    is_allowed: Callable[[str], bool] = is_public
    tls: ssl.SSLContext | None = None
    """None: the certificate authorities of this machine."""


class Target(NamedTuple):
    """What a URL says."""

    scheme: str
    host: str
    port: int
    path: str

    def request(self) -> bytes:
        """The request for it: the connection is not used again."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: clip-search\r\n"
            "Accept: image/*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        ).encode("ascii")


class Fetcher:
    """Fetches for all threads of this process, a few at a time."""

    def __init__(self, front: Front, internet: Internet) -> None:
        self._ports = front.image_url_ports
        self._max_bytes = front.max_body_bytes
        self._time_s = front.image_url_ms / 1000
        self._internet = internet
        self._tls = internet.tls or ssl.create_default_context()
        self._batcher = Batcher("image-url", [self._run] * AT_ONCE, 1, AT_ONCE)

    def start(self) -> None:
        """Start the threads that fetch; call it after the process has forked."""
        self._batcher.start()

    def close(self) -> None:
        """End the threads."""
        self._batcher.close()

    def fetch(self, url: str) -> bytes:
        """What is at `url`; raises BadRequest, and Overloaded when too many are under way."""
        read_url(url, self._ports)
        gather = Gather(1, time.monotonic() + self._time_s)
        self._batcher.submit(url, gather)
        try:
            found: bytes = gather.first()
        except DeadlineExceeded:
            raise self._failed() from None
        return found

    def _run(self, urls: list[str], deadline: float) -> list[bytes]:
        return [self._follow(url, deadline) for url in urls]

    def _follow(self, url: str, deadline: float) -> bytes:
        """What is at `url`, or where that redirects to; raises BadRequest."""
        was_safe = False
        for _ in range(1 + MAX_REDIRECTS):
            target = read_url(url, self._ports)
            if was_safe and target.scheme == "http":
                raise refused("it redirects from https to http")
            was_safe = target.scheme == "https"
            reply = self._get(target, deadline)
            if reply.status not in MOVED:
                break
            url = _joined(url, reply.headers.get("location", ""))
        is_plain = reply.headers.get("content-encoding", "identity").lower() == "identity"
        if reply.status != 200 or not is_plain or len(reply.body) > self._max_bytes:
            log.info("image_url: %s answered with %s", target.host, reply.status)
            raise self._failed()
        return reply.body

    def _get(self, target: Target, deadline: float) -> Reply:
        addresses = self._internet.look_up(target.host)
        if not addresses or not all(map(self._internet.is_allowed, addresses)):
            raise refused("its host has no address, or one that is not on the public Internet")
        try:
            with self._connect(target, addresses, deadline) as connection:
                connection.sendall(target.request())
                return _receive(connection, deadline, self._max_bytes)
        except (OSError, BrokenReply) as error:
            log.info("image_url: %s: %s", target.host, error)
            raise self._failed() from None

    def _connect(
        self, target: Target, addresses: Sequence[str], deadline: float
    ) -> socket.socket | ssl.SSLSocket:
        """A connection to the first of the checked addresses that takes one; raises OSError."""
        for left in range(len(addresses), 0, -1):
            try:
                connection = socket.create_connection(
                    (addresses[-left], target.port), seconds_left(deadline) / left
                )
                break
            except OSError:
                if left == 1:
                    raise
        if target.scheme == "http":
            return connection
        with connection:  # which the TLS one takes over
            connection.settimeout(seconds_left(deadline))
            return self._tls.wrap_socket(connection, server_hostname=target.host)

    def _failed(self) -> BadRequest:
        return BadRequest(
            f"the image was not fetched: within {self._time_s:g} s its server must answer 200, "
            f"with at most {self._max_bytes} bytes that are not compressed",
            "image_url_failed",
        )


def refused(reason: str) -> BadRequest:
    """The error for an address that nothing is fetched from."""
    return BadRequest(f"this image_url is not fetched: {reason}", "image_url_refused")


def read_url(url: str, ports: Sequence[int]) -> Target:
    """Take a URL apart; raises BadRequest unless it is one that may be fetched."""
    if len(url) > MAX_URL or re.search(r"[\x00-\x20\x7f\\]", url):
        raise refused(f"it has over {MAX_URL} characters, or some that no address has")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii").rstrip(".").lower()
        port = parts.port if parts.port is not None else PORTS.get(parts.scheme, 0)
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
    path = quote(parts.path or "/", SAFE) + (f"?{quote(parts.query, SAFE)}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise refused("it redirects to what is malformed") from None


def _receive(connection: socket.socket, deadline: float, max_bytes: int) -> Reply:
    """Read a reply, its body only when that is asked for; raises BrokenReply and OSError."""
    reading = Reading()
    parser = httptools.HttpResponseParser(reading)
    received = 0
    while not reading.complete:
        connection.settimeout(seconds_left(deadline))
        data = connection.recv(RECEIVE_BYTES)
        received += len(data)
        if received > MAX_HEAD_BYTES + (max_bytes if reading.head_complete else 0):
            raise BrokenReply("the reply is too long")
        if not data:
            if reading.head_complete and not {"content-length", "transfer-encoding"} & set(
                reading.headers
            ):
                break  # a body that ends with the connection
            raise BrokenReply("the reply broke off")
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BrokenReply(f"no HTTP reply: {error}") from None
        if reading.head_complete and parser.get_status_code() != 200:
            break
    return Reply(parser.get_status_code(), reading.headers, b"".join(reading.parts))
