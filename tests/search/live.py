"""Search servers that follow a log, asked over their own wire."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from common.wire import Matrix, encode, pack_rows
from devtools.collection import Collection
from devtools.services import Service, running, with_section
from devtools.vectors import unit
from search.log import Log, open_log
from search.messages import Info, LookupReply, LookupRequest, Record, SearchReply, SearchRequest


def vectors(count: int, dim: int) -> Matrix:
    """Random unit vectors."""
    rows = np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)
    return unit(rows)


@contextmanager
def following(collection: Collection, log: str | None, servers: int = 1) -> Iterator[list[Service]]:
    """Search servers with all shards, each by itself, which follow a log."""
    config = with_section(collection.config, "Live", log=log)
    config = with_section(config, "Search", server_list=["127.0.0.1:0"], reload_s=0.05)
    held = ("--index", "0,1")
    with ExitStack() as stack:
        yield [
            stack.enter_context(running("search/search.py", config, *held, cwd=collection.folder))
            for _ in range(servers)
        ]


@contextmanager
def opened(collection: Collection, log: str) -> Iterator[Log]:
    """The log of a collection, to append to it."""
    found = open_log(log, collection.folder)
    assert found is not None
    yield found
    found.close()


def info(server: Service) -> Info:
    """What a server holds."""
    return msgspec.msgpack.decode(server.request("GET", "/info").data, type=Info)


def ask(server: Service, path: str, message: Any, deadline_ms: int = 10_000) -> Any:
    """The reply to a message, or the problem."""
    headers = {"X-Deadline-Ms": str(deadline_ms)}
    response = server.request("POST", path, body=encode(message), headers=headers)
    if response.status != 200:
        return response.json()
    kind = LookupReply if path == "/lookup" else SearchReply
    return msgspec.msgpack.decode(response.data, type=kind)


def search(server: Service, query: Matrix, k: int, min_position: int = 0) -> SearchReply:
    """The k nearest of each shard, with what the log has up to a position."""
    message = SearchRequest(len(query), pack_rows(query), [k], min_position=min_position)
    reply = ask(server, "/search", message)
    assert isinstance(reply, SearchReply), reply
    return reply


def look_up(server: Service, key: bytes, min_position: int = 0) -> Any:
    """The image of a key, with what the log has up to a position."""
    return ask(server, "/lookup", LookupRequest(key[:16].hex(), min_position))


def paths(reply: SearchReply) -> list[str]:
    """The paths of a reply to one query, best first."""
    found = [
        (score, msgspec.msgpack.decode(record, type=Record).path)
        for shard in reply.shards
        for hits in shard.hits
        for score, record in zip(np.frombuffer(hits.scores, "<f4"), hits.records, strict=True)
    ]
    return [path for _, path in sorted(found, reverse=True)]


def remove(folder: Path) -> dict[Path, bytes]:
    """Remove the SQLite log of a collection; returns its files."""
    files = {path: path.read_bytes() for path in (folder / "data").glob("log.sqlite*")}
    for path in files:
        path.unlink()
    return files
