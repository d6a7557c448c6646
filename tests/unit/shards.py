"""Search servers without a socket, and hits as they find them."""

import asyncio
from collections.abc import Sequence
from typing import cast

import msgspec
import numpy as np

from common.errors import NotFound, ServiceError, Unavailable
from common.loop import within
from common.wire import Matrix
from middle.fan_out import FanOut
from search.browse_messages import BrowseRequest, CountRequest, Counts, Listed
from search.client import SearchServer
from search.image_key import IMAGE_KEY
from search.messages import Hits, Info, LookupReply, Record
from search.query_batch import Ask, QueryBatch, Result, ShardResult

SPACE = "space"
VECTOR: Matrix = np.array([1.0, 0.0], np.float32)
RECORD = Record("a.jpg", {"year": 2020})


def hits(*found: tuple[float, int]) -> Hits:
    """Hits of (score, content hash), in that order; the path is the content."""
    keys = np.zeros(len(found), IMAGE_KEY)
    keys["content"] = [content for _, content in found]
    records = [msgspec.Raw(msgspec.msgpack.encode(Record(f"{content}"))) for _, content in found]
    return Hits(np.array([score for score, _ in found], "<f4").tobytes(), keys.tobytes(), records)


def lookup_reply(space: str = SPACE, position: int = 0) -> LookupReply:
    """The image of any id."""
    return LookupReply(RECORD, 2, VECTOR.astype("<f4").tobytes(), "v1", space, position)


class FakeServer:
    """Holds some shards in some versions, the newest first, and finds the same for every query."""

    def __init__(
        self,
        shards: Sequence[int] = (0,),
        versions: Sequence[str] = ("v1",),
        after_s: float = 0.01,
        shard_count: int = 2,
    ) -> None:
        self.shards = list(shards)
        self.versions = list(versions)
        self.after_s = after_s
        self.shard_count = shard_count
        self.space = SPACE
        self.position = 0
        self.delta_rows = 0
        self.log_id = ""
        self.found: dict[int, Hits] = {}
        self.listed: dict[int, list[Listed]] = {}
        self.counted: dict[int, Counts] = {}
        self.error: Exception | None = None
        self.batches: list[QueryBatch] = []
        self.cancelled = 0
        self.lookups = 0
        self.deleted: set[str] = set()
        self.is_closed = False
        self.asks: list[Ask] = []
        self.addresses = (f"server-{id(self)}:80",)

    def in_use(self) -> list[str]:
        return list(self.addresses)

    def submit(self, batch: QueryBatch, ask: Ask) -> "asyncio.Future[list[Result]]":
        self.batches.append(batch)
        self.asks.append(ask)
        return asyncio.ensure_future(self._search(batch, ask))

    async def lookup(
        self,
        image_id: str,
        deadline: float,
        min_position: int = 0,
        _among: frozenset[str] | None = None,
    ) -> LookupReply:
        self.lookups += 1
        position = self.position
        await self._take_time(deadline)
        if min_position > self.position:
            raise Unavailable("behind", "behind")
        if image_id in self.deleted:
            raise NotFound("no image has this id", "unknown_id")
        return lookup_reply(self.space, position)

    async def browse(
        self, message: BrowseRequest, deadline: float, _among: frozenset[str] | None = None
    ) -> ShardResult[list[Listed]]:
        await self._take_time(deadline)
        shards = {n: self.listed.get(n, [])[: message.limit] for n in self.shards}
        named, address = self._named(message.version_digest), self.addresses[0]
        return ShardResult(*named, shards, self.position, address)

    async def counts(
        self, message: CountRequest, deadline: float, _among: frozenset[str] | None = None
    ) -> ShardResult[Counts]:
        await self._take_time(deadline)
        none = Counts(0, [[] for _ in message.fields])
        shards = {n: self.counted.get(n, none) for n in self.shards}
        named, address = self._named(message.version_digest), self.addresses[0]
        return ShardResult(*named, shards, self.position, address)

    async def info(self, deadline: float) -> Info:
        await self._take_time(deadline)
        newest, count = self.versions[0], self.shard_count
        return Info(
            *(newest, self.space, "clip", 2, 7, self.shards, count, f"digest of {newest}"),
            position=self.position,
            delta_rows=self.delta_rows,
            log_id=self.log_id,
        )

    async def infos(self, timeout_s: float) -> dict[str, Info]:
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            return {self.addresses[0]: await self.info(deadline)}
        except ServiceError:
            return {}

    async def close(self) -> None:
        self.is_closed = True

    async def _search(self, batch: QueryBatch, ask: Ask) -> list[Result]:
        try:
            await asyncio.sleep(self.after_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return [self._result(query.version_digest, query.k, ask) for query in batch.queries]

    def _result(self, version_digest: str | None, k: int, ask: Ask) -> Result:
        wanted = self.shards if ask.shards is None else set(self.shards) & set(ask.shards)
        shards = {shard: _first(self.found.get(shard, hits()), k) for shard in wanted}
        named, (address,) = self._named(version_digest), self.addresses
        return ShardResult(*named, shards, self.position, address)

    def _named(self, version_digest: str | None) -> tuple[str, str, str, int]:
        known = {f"digest of {version}": version for version in self.versions}
        if version_digest is not None and version_digest not in known:
            raise NotFound("no version with this digest is loaded", "no_such_version")
        version = known[version_digest] if version_digest else self.versions[0]
        return version, f"digest of {version}", self.space, self.shard_count

    async def _take_time(self, deadline: float) -> None:
        await within(deadline, asyncio.sleep(self.after_s))
        if self.error:
            raise self.error


def _first(found: Hits, k: int) -> Hits:
    return Hits(found.scores[: 4 * k], found.keys[: IMAGE_KEY.itemsize * k], found.records[:k])


def fan_out_of(*servers: FakeServer) -> FanOut:
    """A fan-out of such servers, dealt what they hold."""
    return FanOut(cast("list[SearchServer]", servers), lambda server, _: servers[server].shards)


def down() -> Unavailable:
    """What a server that is not there ends in."""
    return Unavailable("down")
