"""Fetching in this process, with a loopback address as the Internet."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest

from common.config import Front
from common.errors import BadRequest
from front.image_fetch import Fetcher, Internet
from tests.front.fake_website import Elsewhere

MAX_BYTES = 100_000
HOST = "pictures.example"
HERE, THERE = "127.0.0.1", "127.0.0.2"
"""What is allowed, and what is not."""
LONG_MS = 60_000
LookUp = Callable[[str], Sequence[str]]


def names(*addresses: str) -> LookUp:
    """A look-up that knows one host and its addresses."""
    return lambda host: addresses if host == HOST else []


def at(server: Elsewhere, path: str, scheme: str = "http") -> str:
    """The URL of a path, by the name of the host."""
    return f"{scheme}://{HOST}:{server.port}{path}"


def fetch(
    url: str,
    ports: Sequence[int],
    look_up: LookUp | None = None,
    time_ms: int = LONG_MS,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """What is at `url`, when only HERE is allowed."""
    front = Front(max_body_bytes=MAX_BYTES, image_url_ports=tuple(ports), image_url_ms=time_ms)
    internet = Internet(look_up or names(HERE), lambda address: address == HERE, tls)
    with closing(Fetcher(front, internet)) as fetcher:
        return asyncio.run(fetcher.fetch(url))


def refusal(*arguments: Any, **options: Any) -> BadRequest:
    """What `fetch` raises."""
    with pytest.raises(BadRequest) as raised:
        fetch(*arguments, **options)
    return raised.value


def code(*arguments: Any, **options: Any) -> str:
    """The code that `fetch` is refused with."""
    return refusal(*arguments, **options).code
