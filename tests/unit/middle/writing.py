"""Writes of middle to a log in a file, with no server behind it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

from common.cache_epoch import CacheEpoch
from inference.client import InferenceClient
from middle.upstream_state import UpstreamState
from middle.write_messages import PutQuery
from middle.writes import Writes
from search.log import Entry, Log
from search.sqlite_log import SqliteLog
from tests.unit.embedding import FakeInference
from tests.unit.shards import FakeServer, fan_out_of

CONTENT = "00000000000000aa"
IMAGE = PutQuery(
    image=b"image", path="a.jpg", metadata={"stock": 3}, told_from=1, facts={"size": 5}
)
KNOWN = "0" * 32


class CountingLog(SqliteLog):
    """Notes how many entries came together; may fail as a log does."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[int] = []
        self.failure: Exception | None = None

    def append(self, entries: Sequence[Entry], after: int | None = None) -> int:
        if self.failure:
            raise self.failure
        self.batches.append(len(entries))
        return super().append(entries, after)

    def end(self) -> int:
        if self.failure:
            raise self.failure
        return super().end()


class Writing:
    """Writes to a log in a file; a server has come to the end of it."""

    def __init__(self, log: Log | None, max_delta: int = 10) -> None:
        self.log = log
        self.server = FakeServer()
        self.server.position = 1000
        fan_out = fan_out_of(self.server)
        self.inference = FakeInference()
        self.inference.after_s = 0
        inference = cast(InferenceClient, self.inference)
        self.state = UpstreamState(inference, fan_out, CacheEpoch())
        self.writes = Writes(log, inference, fan_out, self.state, max_delta)

    async def put(self, query: PutQuery = IMAGE, content: str = CONTENT) -> Any:
        return await self.writes.put(query, content, soon())

    def entries(self) -> list[Entry]:
        assert self.log is not None
        return [entry for _, entry in self.log.read(0, 100)]


def soon() -> float:
    return asyncio.get_running_loop().time() + 10


def run(log: Log | None, use: Callable[[Writing], Coroutine[Any, Any, None]]) -> Writing:
    """Use it on a loop with a real clock, as a log takes real time."""
    writing = Writing(log)

    async def using() -> None:
        await use(writing)
        await writing.writes.close()

    asyncio.run(using())
    return writing
