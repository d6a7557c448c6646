"""Servers that stand in for others without a socket: what an HttpClient sends, they answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, cast

from common.http_client import HttpClient, Reply, Request
from common.names import Names

Answer = Callable[[], Awaitable[Reply]]


class Sent(NamedTuple):
    """A request that reached a server, or would have."""

    address: str
    request: Request
    headers: Mapping[str, str]
    new_connection: bool
    tls_name: str | None = None


class FakeHttp:
    """Answers by the address; what was sent, probes apart, is kept."""

    def __init__(self, answers: Mapping[str, Answer], probe_path: str = "/ready") -> None:
        self.answers = dict(answers)
        self.probes: dict[str, Answer] = dict.fromkeys(answers, saying())
        self.sent: list[Sent] = []
        self.probed: list[str] = []
        self.starting: set[str] = set()
        self.is_closed = False
        self.names = Names()
        self._probe_path = probe_path

    async def send(
        self,
        address: str,
        request: Request,
        headers: Mapping[str, str] | None = None,
        *,
        new_connection: bool = False,
        tls_name: str | None = None,
    ) -> Reply:
        """What an HttpClient's `send` does."""
        if request.path == self._probe_path:
            self.probed.append(address)
            return await self.probes[address]()
        self.sent.append(Sent(address, request, headers or {}, new_connection, tls_name))
        return (await self.answers[address]())._replace(address=address)

    def is_starting(self, address: str) -> bool:
        """Whether a server may still be starting."""
        return address in self.starting

    async def close(self) -> None:
        """Close the connections."""
        self.is_closed = True

    def count(self) -> dict[str, int]:
        """How often each address was asked."""
        addresses = [one.address for one in self.sent]
        return {address: addresses.count(address) for address in self.answers}

    @property
    def client(self) -> HttpClient:
        """The same, for those who want an HttpClient."""
        return cast(HttpClient, self)


def saying(body: bytes = b"", status: int = 200, after_s: float = 0.0, **headers: str) -> Answer:
    """An answer that takes a while; headers are given with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer() -> Reply:
        await asyncio.sleep(after_s)
        return Reply(status, named, body)

    return answer


def failing(error: Exception, after_s: float = 0.0) -> Answer:
    """An exchange that ends in an error."""

    async def answer() -> Reply:
        await asyncio.sleep(after_s)
        raise type(error)(*error.args)

    return answer


async def hang() -> Reply:
    """Take the request and never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")
