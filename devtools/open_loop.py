"""An open-loop load generator: each query has a moment, drawn before, at which it is sent.

The latency of a query counts from its moment, so a pause of a service delays every query of the
pause. A closed loop leaves these queries out (Tene: "coordinated omission"). No program of Debian
does this: ab, wrk, hey, siege and bombardier wait for an answer before the next query. httperf and
tsung count latency from the time of sending. wrk2 and vegeta are not packaged.
"""

import asyncio
import selectors
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from devtools.loads import Measured

MAX_CONNECTIONS = 512
"""Connections at a time: four times the threads of middle, half of what select can watch. The wait
for a connection is part of a query's latency."""
TIMEOUT_S = 30


class Due(NamedTuple):
    """A query and the moment to send it, in seconds from the start."""

    at_s: float
    text: str


class Reply(NamedTuple):
    """The outcome of a query."""

    text: str
    at_s: float
    latency_ms: float
    """From the moment of the query, not from the time of sending."""
    ok: bool
    body: bytes
    """The answer, if it is kept, else empty."""
    status: int = 200
    """0 if there was no answer, or a 503 without Retry-After."""


def draw(rate: float, seconds: float, texts: Iterator[str], seed: int = 0) -> list[Due]:
    """Poisson arrivals, `rate` a second on average: the arrivals of independent users."""
    random = np.random.default_rng(seed)
    count = round(rate * seconds)
    # Given their number, the moments of a Poisson process are uniform.
    moments = np.sort(random.uniform(0, seconds, count)).tolist()
    return [Due(at_s, text) for at_s, text in zip(moments, texts, strict=False)]


def later(due: Sequence[Due], seconds: float) -> list[Due]:
    """The same queries, so many seconds later: after a load that lasts as long."""
    return [query._replace(at_s=query.at_s + seconds) for query in due]


def split(replies: Sequence[Reply], at_s: float) -> tuple[list[Reply], list[Reply]]:
    """The replies to what was due before a moment, and to what was due later."""
    before = [reply for reply in replies if reply.at_s < at_s]
    return before, [reply for reply in replies if reply.at_s >= at_s]


def measured(replies: Sequence[Reply], seconds: float) -> Measured:
    """The result of `seconds` of replies. A failed query counts with the time to its failure."""
    p50, p99 = np.percentile([reply.latency_ms for reply in replies] or [0], (50, 99)).tolist()
    answers = sum(reply.ok for reply in replies)
    return Measured(answers, seconds, p50, p99, len(replies) - answers)


def send(
    address: str, due: Sequence[Due], k: int, kept: int = 0, path: str = "/search"
) -> list[Reply]:
    """Send each query at its moment to a `path` of the server; returns the replies in order.

    `kept` of the replies, spread over the run, keep their answers.
    """
    # epoll wakes up to a millisecond too late, select does not
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        return runner.run(_send_all(Client(address, path), due, k, kept))


async def _send_all(client: "Client", due: Sequence[Due], k: int, kept: int) -> list[Reply]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    keep_every = max(1, len(due) // kept) if kept else len(due) + 1

    async def ask(query: Due, keep: bool) -> Reply:
        body = msgspec.json.encode({"text": query.text, "k": k})
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, answer = await client.post(body)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            status, answer = 0, b""
        latency_ms = 1000 * (loop.time() - began - query.at_s)
        body = answer if keep else b""
        return Reply(query.text, query.at_s, latency_ms, status == 200, body, status)

    tasks = []
    for number, query in enumerate(due):
        await asyncio.sleep(max(0, began + query.at_s - loop.time()))
        keep = number % keep_every == keep_every - 1
        tasks.append(asyncio.create_task(ask(query, keep)))
    try:
        return await asyncio.gather(*tasks)
    finally:
        client.close()


class Client:
    """A minimal HTTP client: it shares the cores with the services that it measures."""

    def __init__(self, address: str, path: str) -> None:
        """`address` is "host:port". Connections are opened when needed, then kept."""
        self._path = path
        self._host, _, self._port = address.rpartition(":")
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer to some JSON; raises OSError, EOFError."""
        async with self._slots:
            reader, writer = await self._connection()
            try:
                head = (
                    f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(head.encode() + body)
                head_of_reply = _read_head(await reader.readuntil(b"\r\n\r\n"))
                answer = await reader.readexactly(head_of_reply.length)
            except BaseException:
                writer.transport.abort()  # `close` would wait until everything is sent
                raise
            if head_of_reply.is_kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
            return head_of_reply.status, answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # the server closes connections that are idle for long
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, int(self._port))

    def close(self) -> None:
        """Close the idle connections."""
        for _, writer in self._idle:
            writer.close()


class _Head(NamedTuple):
    """What the head of a reply says that matters here."""

    status: int
    length: int
    is_kept: bool


def _read_head(head: bytes) -> _Head:
    """Decode a head; raises ValueError without a length, and for a 503 without Retry-After."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(":", 1) for line in lines if line)
    status = int(first.split()[1])
    if status == 503 and "retry-after" not in headers:
        raise ValueError("a 503 that does not say when to try again")
    length = int(headers.get("content-length", "none"))
    return _Head(status, length, "close" not in headers.get("connection", ""))
