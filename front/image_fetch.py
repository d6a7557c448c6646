"""The fetch of the image that `image_url` names, from public addresses of the Internet only.

A host name is looked up once. All its addresses must be public, and the connection goes to one of
these addresses. So DNS rebinding, another address at a second look-up, has no effect. Each redirect
is checked like the first URL. All failures have the same message: a caller must not learn which
servers this machine can reach.
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
"""Fetches at a time; as many more may wait. So fetches block few of the request threads."""
MAX_REDIRECTS = 3
MOVED = (301, 302, 303, 307, 308)
CHECKED_HOST = "checked.invalid"
"""The host in aiohttp's URL. With an address as host, aiohttp would not use our resolver."""
ASKED_FOR = {"User-Agent": "clip-search", "Accept": "image/*", "Accept-Encoding": "identity"}

_outcomes = partial(BATCH_ITEMS.labels, "image-url")


class Internet(NamedTuple):
    """How names are looked up, which addresses are allowed, and which certificates are valid."""

    look_up: Callable[[str], Sequence[str]] = look_up
    is_allowed: Callable[[str], bool] = is_internet_address
    tls: ssl.SSLContext | None = None
    """None: certificates of the authorities that this machine trusts."""


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
        # not the loop's own threads: look-ups that hang would block all of them
        self._threads = ThreadPoolExecutor(AT_ONCE, "look-up")

    def close(self) -> None:
        """Stop looking up names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> bytes:
        """The image at `url`; raises BadRequest, and Overloaded when too many fetches wait."""
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
        """The image at `url`, after up to MAX_REDIRECTS redirects; raises BadRequest."""
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
        """The image of a target, or the URL of a redirect; raises BadRequest."""
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
        """The image in a reply, or the URL of a redirect; raises BadRequest."""
        if response.status in MOVED:
            return response.headers.get("Location", "")
        encodings = response.headers.getall("Content-Encoding", [])
        is_plain = all(encoding.lower() == "identity" for encoding in encodings)
        is_good = response.status == 200 and is_plain
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
    """A resolver that gives the checked addresses for every name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The checked addresses."""
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _session(addresses: Sequence[str], tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session for one request: no proxy, no cookies, no timeout of its own."""
    resolver = _Checked(addresses)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=resolver, force_close=True, ssl=tls),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        middlewares=(send_once,),
    )
