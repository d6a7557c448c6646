"""The HTTP client for our services: one request at a time on each kept connection."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from common.digest import DIGEST, LARGE_BYTES, WANTED, DigestedBody, digested
from common.errors import InvalidResponse, Problem, ServiceError, Unauthorized, Unavailable
from common.internal_auth import InternalAuth
from common.names import Names
from common.request_context import CONTEXT
from common.wire import MSGPACK

log = logging.getLogger(__name__)

CONNECT_S = 0.5
"""A reachable host accepts a connection in a few milliseconds, even if its process hangs."""
START_S = 60.0
"""No warning in this time about a server that never answered: all services start together."""
PIECE_BYTES = 2**18
ENDED = ("Content-Length", "Transfer-Encoding")
"""Headers that say where a reply ends. Without them, a cut reply looks complete."""
NO_USER_AGENT = ("User-Agent", "Accept", "Accept-Encoding")


class NotConnected(Unavailable):
    """No connection was made, so nothing was sent: a try on another replica is free."""


class BrokenReply(Unavailable):
    """The connection broke before the reply was complete, or the reply was not HTTP."""


class Request(NamedTuple):
    """A request; its body is msgpack."""

    method: str
    path: str
    body: DigestedBody | None = None
    headers: Mapping[str, str] = {}
    once: bool = False
    """Whether to send it to one server alone: an old copy of a write could undo a newer write."""
    hedge_after_s: float = 0.0
    """The least time after which another server may be asked, too: what it does is dear."""


class Reply(NamedTuple):
    """A reply; names of headers match in upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str = ""
    """Whose reply it is."""


class HttpClient:
    """The connections of one event loop to our services."""

    def __init__(
        self, inside: InternalAuth | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`inside` has our token and certificates. The first request opens a connection."""
        self._inside = inside
        self._now, self._started_at = now, now()
        self._reached: set[str] = set()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self.names = Names()

    async def send(
        self,
        address: str,
        request: Request,
        headers: Mapping[str, str] | None = None,
        *,
        new_connection: bool = False,
        tls_name: str | None = None,
    ) -> Reply:
        """Send a request once to "host:port"; returns the reply, also one with an error status.

        With TLS, the certificate must be for `tls_name`, or else for the host.
        A retry uses a new connection, since the kept connection may be the fault. Raises
        NotConnected and BrokenReply.
        """
        tls = self._inside.context() if self._inside and self._inside.tls else None
        url = _url(f"http{'s' if tls else ''}://{address}{request.path}")
        try:
            async with self._session(new_connection).request(
                request.method,
                url,
                data=_data(request.body),
                headers=self._headers(request, headers or {}),
                allow_redirects=False,
                ssl=tls or True,
                server_hostname=tls_name,
                middlewares=() if request.method == "POST" else (send_once,),
            ) as response:
                self._reached.add(address)
                body = await response.read()
                if body and not any(name in response.headers for name in ENDED):
                    raise aiohttp.ClientPayloadError("nothing says where the reply ends")
                return Reply(response.status, response.headers, body, address)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # A certificate that will not do is no matter of starting.
            is_tls = isinstance(error, aiohttp.ClientSSLError)
            is_expected = self.is_starting(address) and not is_tls
            level = logging.DEBUG if is_expected else logging.WARNING
            log.log(level, "%s: no connection: %s", address, error)
            raise NotConnected("a server behind this one cannot be reached") from None
        except (aiohttp.ClientError, OSError) as error:
            log.warning("%s: %r", address, error)
            raise BrokenReply("a server behind this one cannot be reached") from None

    def is_starting(self, address: str) -> bool:
        """Whether a server may be starting: no reply yet, in the first START_S of this client."""
        return address not in self._reached and self._now() - self._started_at < START_S

    async def close(self) -> None:
        """Close the connections."""
        while self._sessions:
            await self._sessions.popitem()[1].close()
        await self.names.close()

    def _headers(self, request: Request, headers: Mapping[str, str]) -> dict[str, str]:
        ours = {WANTED: "sha-256=1", **CONTEXT.get().headers()}
        if self._inside and self._inside.token:
            ours |= self._inside.headers()
        if request.body:
            length = str(len(request.body.body))
            ours |= {"Content-Type": MSGPACK, "Content-Length": length, DIGEST: request.body.digest}
        return {**ours, **request.headers, **headers}

    def _session(self, new_connection: bool) -> aiohttp.ClientSession:
        if new_connection not in self._sessions:
            self._sessions[new_connection] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    force_close=new_connection,
                    resolver=_Resolver(self.names),
                    use_dns_cache=False,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=NO_USER_AGENT,
                auto_decompress=False,
            )
        return self._sessions[new_connection]


class _Resolver(AbstractResolver):
    """Gives aiohttp the last known addresses of names."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name; raises OSError without any."""
        found = await self._names.first(host)
        if not found:
            raise OSError(None, f"no address of {host} is known")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """The names are the client's."""


async def send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A middleware that keeps aiohttp from repeating GET and DELETE on a broken connection."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(repr(error)) from error


async def checked(reply: Reply, *, needs_digest: bool = False) -> Reply:
    """Return a good reply; raises the ServiceError of an error reply, or InvalidResponse."""
    digest = reply.headers.get(DIGEST)
    if needs_digest if digest is None else digest != (await digested(reply.body)).digest:
        raise InvalidResponse("a server behind this one answered what was changed on the way")
    if reply.status >= 400:
        problem = problem_of(reply.status, reply.body)
        if problem.code == Unauthorized.code:  # our token, not our client's key
            log.warning("a server behind this one refuses our token: see Inside.token-file")
            raise Unavailable("a server behind this one refuses us")
        raise problem.error()
    return reply


def problem_of(status: int, body: bytes) -> Problem:
    """The problem in an error reply; made from the status if the server is not ours."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
        if problem.status == status:
            return problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    code = Unavailable.code if status >= 500 else ServiceError.code
    detail = f"a server behind this one answered with HTTP status {status}"
    return Problem(503 if status >= 500 else status, code, detail)


@lru_cache(maxsize=256)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


def _data(body: DigestedBody | None) -> bytes | AsyncIterator[memoryview] | None:
    """The body for aiohttp, which would copy the whole of a large body in any other form."""
    if body is None:
        return None
    return body.body if len(body.body) <= LARGE_BYTES else _pieces(body.body)


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    """A large body in pieces, to let other requests between."""
    for start in range(0, len(body), PIECE_BYTES):
        yield memoryview(body)[start : start + PIECE_BYTES]
        await asyncio.sleep(0)
