"""Fetches the images that `image_url` names, from public addresses of the Internet alone.

A name is looked up once, all its addresses must be public, and the connection goes to one of
them: what the name leads to a moment later (DNS rebinding) does not matter. Each redirect is
checked as the first address was. What is told of a failure is always the same, so that nobody
learns from us what listens where.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from common.config import Front
from common.errors import BadRequest, Overloaded
from common.http_client import send_once
from common.metrics import BATCH_ITEMS
from front.image_url import Target, read_url, refused
from front.public_addresses import is_internet_address, look_up

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Fetches under way, and as many may wait: few of the threads that answer are ever held up."""
MAX_REDIRECTS = 3
MOVED = (301, 302, 303, 307, 308)
CHECKED_HOST = "checked.invalid"
"""The host that aiohttp connects to: it would ask no resolver for a host that is an address."""
ASKED_FOR = {"User-Agent": "clip-search", "Accept": "image/*", "Accept-Encoding": "identity"}

_outcomes = partial(BATCH_ITEMS.labels, "image-url")


class Internet(NamedTuple):
    """How names become addresses, which of these are allowed, and whose certificates are good."""

    look_up: Callable[[str], Sequence[str]] = look_up
    is_allowed: Callable[[str], bool] = is_internet_address
    tls: ssl.SSLContext | None = None
    """None: the certificate authorities of this machine."""


class Fetcher:
    """Fetches a few images at a time. Belongs to one event loop."""

    def __init__(self, front: Front, internet: Internet) -> None:
        self._ports = front.image_url_ports
        self._max_bytes = front.max_body_bytes
        self._time_s = front.image_url_ms / 1000
        self._internet = internet
        self._tls = internet.tls or ssl.create_default_context()
        self._under_way = 0
        self._slots = asyncio.Semaphore(AT_ONCE)
        # not the loop's own threads: a look-up that hangs would keep them from all others
        self._threads = ThreadPoolExecutor(AT_ONCE, "look-up")

    def close(self) -> None:
        """Look up no more names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> bytes:
        """What is at `url`; raises BadRequest, and Overloaded when too many are under way."""
        read_url(url, self._ports)
        if self._under_way >= 2 * AT_ONCE:
            _outcomes("refused").inc()
            raise Overloaded(f"the image-url queue is full ({AT_ONCE} items)")
        self._under_way += 1
        outcome = "failed"
        try:
            async with asyncio.timeout(self._time_s), self._slots:
                image = await self._follow(url)
            outcome = "ok"
            return image
        except TimeoutError:
            log.info("image_url: no image in time")
            raise self._failed() from None
        finally:
            self._under_way -= 1
            _outcomes(outcome).inc()

    async def _follow(self, url: str) -> bytes:
        """What is at `url`, or where that redirects to; raises BadRequest."""
        was_safe = False
        for _ in range(1 + MAX_REDIRECTS):
            target = read_url(url, self._ports)
            if was_safe and target.scheme == "http":
                raise refused("it redirects from https to http")
            was_safe = target.scheme == "https"
            found = await self._get(target)
            if isinstance(found, bytes):
                return found
            try:
                url = urljoin(url, found)
            except ValueError:
                raise refused("it redirects to what is malformed") from None
        raise self._failed()

    async def _get(self, target: Target) -> bytes | str:
        """The image of a target, or the address that it leads to; raises BadRequest."""
        loop, look_up = asyncio.get_running_loop(), self._internet.look_up
        addresses = await loop.run_in_executor(self._threads, look_up, target.host)
        if not addresses or not all(map(self._internet.is_allowed, addresses)):
            raise refused("its host has no address, or one that is not on the public Internet")
        try:
            async with (
                _session(addresses, self._tls) as session,
                session.get(
                    target.asked_of(CHECKED_HOST),
                    headers={"Host": target.host_header(), **ASKED_FOR},
                    server_hostname=target.host,
                    allow_redirects=False,
                ) as response,
            ):
                return await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            log.info("image_url: %s: %r", target.host, error)
            raise self._failed() from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | str:
        """The image in a reply, or the address that it leads to; raises BadRequest."""
        if response.status in MOVED:
            return response.headers.get("Location", "")
        encodings = response.headers.getall("Content-Encoding", [])
        is_good = response.status == 200 and all(one.lower() == "identity" for one in encodings)
        image = bytearray()
        while is_good and (piece := await response.content.readany()):
            image += piece
            is_good = len(image) <= self._max_bytes
        if is_good:
            return bytes(image)
        host = response.request_info.headers["Host"]
        log.info("image_url: %s answered %s, %d bytes read", host, response.status, len(image))
        raise self._failed()

    def _failed(self) -> BadRequest:
        return BadRequest(
            f"the image was not fetched: within {self._time_s:g} s its server must answer 200, "
            f"with at most {self._max_bytes} bytes that are not compressed",
            "image_url_failed",
        )


class _Checked(AbstractResolver):
    """Knows addresses that were checked, whatever is looked up."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """These addresses."""
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _session(addresses: Sequence[str], tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session for one request: no proxy, no cookies, no limits of its own."""
    resolver = _Checked(addresses)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=resolver, force_close=True, ssl=tls),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        middlewares=(send_once,),
    )
