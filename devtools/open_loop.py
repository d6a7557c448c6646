"""An open loop: queries sent at moments that were drawn before, each timed from its own.

Why not a program of Debian's: ab, wrk, hey, siege and bombardier wait for an answer before they
ask again, httperf and tsung time from when they sent, wrk2 and vegeta are not packaged.
"""

import asyncio
import selectors
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

MAX_CONNECTIONS = 512
"""At a time: four times what middle has threads, half of what select can watch. A query without
one waits, and its time runs."""
TIMEOUT_S = 30


class Due(NamedTuple):
    """A query and when it is to be sent, in seconds from the start."""

    at_s: float
    text: str


class Reply(NamedTuple):
    """What became of a query."""

    text: str
    at_s: float
    latency_ms: float
    """From when it was due, not from when it was sent."""
    ok: bool
    body: bytes
    """The answer, of those that are kept."""
    status: int = 200
    """0: there was no answer, or a 503 that does not say when to try again."""


def draw(rate: float, seconds: float, texts: Iterator[str], seed: int = 0) -> list[Due]:
    """Poisson arrivals, `rate` a second on average: how people who do not know each other ask."""
    random = np.random.default_rng(seed)
    count = round(rate * seconds)
    # For a given number of them, the moments of a Poisson process are uniform.
    moments = np.sort(random.uniform(0, seconds, count)).tolist()
    return [Due(at_s, text) for at_s, text in zip(moments, texts, strict=False)]


def send(
    address: str, due: Sequence[Due], k: int, kept: int = 0, path: str = "/search"
) -> list[Reply]:
    """Send each query to middle, or where `path` leads, when it is due; the replies, in that order.

    The answers of `kept` of them, spread over the time, are among the replies.
    """
    # epoll wakes up to a millisecond late, select does not
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        return runner.run(_send_all(Client(address, path), due, k, kept))


async def _send_all(client: "Client", due: Sequence[Due], k: int, kept: int) -> list[Reply]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    keep_every = max(1, len(due) // kept) if kept else len(due) + 1

    async def ask(one: Due, keep: bool) -> Reply:
        body = msgspec.json.encode({"text": one.text, "k": k})
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, answer = await client.post(body)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            status, answer = 0, b""
        latency_ms = 1000 * (loop.time() - began - one.at_s)
        body = answer if keep else b""
        return Reply(one.text, one.at_s, latency_ms, status == 200, body, status)

    tasks = []
    for number, one in enumerate(due):
        await asyncio.sleep(max(0, began + one.at_s - loop.time()))
        keep = number % keep_every == keep_every - 1
        tasks.append(asyncio.create_task(ask(one, keep)))
    try:
        return await asyncio.gather(*tasks)
    finally:
        client.close()


class Client:
    """As little of an HTTP client as does it, as it shares the cores with what it measures."""

    def __init__(self, address: str, path: str) -> None:
        """`address` is "host:port"; connections are opened as they are needed, and kept."""
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
                writer.transport.abort()  # to close, it would wait until all is sent
                raise
            if head_of_reply.is_kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
            return head_of_reply.status, answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # the server closes what was idle for long
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, int(self._port))

    def close(self) -> None:
        """Close the connections."""
        for _, writer in self._idle:
            writer.close()


class _Head(NamedTuple):
    """What the head of a reply says."""

    status: int
    length: int
    is_kept: bool


def _read_head(head: bytes) -> _Head:
    """Raises ValueError where it says too little."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(":", 1) for line in lines if line)
    status = int(first.split()[1])
    if status == 503 and "retry-after" not in headers:
        raise ValueError("a 503 that does not say when to try again")
    length = int(headers.get("content-length", "none"))
    return _Head(status, length, "close" not in headers.get("connection", ""))
