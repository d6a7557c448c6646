"""Asking middle so that its cache shows, and what the servers behind it did meanwhile."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from devtools.collection import Collection
from devtools.services import Cluster, Service, metric, running, wait_until, with_section

CLOSE = {"Connection": "close"}
"""So that the next request may go to another worker."""
Reply = urllib3.BaseHTTPResponse


@contextmanager
def caching(services: Cluster, folder: Path, **keys: Any) -> Iterator[Service]:
    """A middle of its own before the servers of a cluster, which knows them already."""
    config = with_section(services.config, "Middle", **{"port": 0, "deadline_ms": 20_000, **keys})
    with running("middle/middle.py", config, cwd=folder) as middle:
        if keys.get("cache") != "off":
            for _ in range(10 * keys.get("workers", 1) - 9):
                wait_until(lambda: "bypass" != outcome(ask(middle, text="the the", headers=CLOSE)))
        yield middle


def ask(service: Service, path: str = "/search", headers: Any = None, **query: Any) -> Reply:
    """The reply to a query, whatever its status."""
    return service.request("POST", path, json=query, headers=headers)


def fresh(service: Service, **query: Any) -> Reply:
    """The reply to a query that wants nothing from the cache."""
    return ask(service, headers={"Cache-Control": "no-cache"}, **query)


def outcome(reply: Reply) -> str:
    """How an answer came about; it must be one."""
    assert 200 == reply.status, reply.data
    return reply.headers["X-Cache"]


def hits(reply: Reply) -> list[tuple[str, float]]:
    """What was found."""
    return [(hit["path"], round(hit["score"], 5)) for hit in reply.json()["hits"]]


def embedded(inference: Service, kind: str = "text") -> int:
    """How many texts or images the model has been run for."""
    return int(metric(inference, f'batch_items_total{{batcher="clip-{kind}",outcome="ok"}}'))


def counted(middle: Service, level: str, what: str) -> float:
    """How many requests ended so at a level of the cache."""
    return metric(middle, f'cache_requests_total{{level="{level}",outcome="{what}"}}')


def image(collection: Collection, number: int) -> str:
    """An image of the collection, in base64."""
    data = (collection.folder / f"images/{number:04}.png").read_bytes()
    return base64.b64encode(data).decode()
