"""A pipeline between an embedder and search servers, all without sockets."""

import asyncio
from typing import Any, cast

from common.cache_epoch import CacheEpoch
from common.config import Config, Middle
from middle.cache_keys import ImageFile
from middle.embed import Embedder
from middle.messages import Query
from middle.pipeline import CachedAnswer, Pipeline
from middle.prediction_cache import PredictionCache
from middle.result_key import ResultKey
from middle.upstream_state import Index, UpstreamState
from tests.unit.embedding import FakeEmbedder
from tests.unit.shards import FakeServer, fan_out_of


class FakeState:
    """Knows an index and models; what is None is not known."""

    def __init__(self) -> None:
        self.known_index: Index | None = Index("v1", "digest of v1")
        self.digests = {"clip": "digest of clip", "mclip": "digest of mclip"}

        self.known_position = 0

    def position(self) -> int:
        return self.known_position

    def index(self) -> Index | None:
        return self.known_index

    def digest(self, role: str) -> str | None:
        return self.digests.get(role)


class Answering:
    """Two servers of a shard each; the same query again and again."""

    def __init__(self, cache: str = "memory", min_coverage: float = 0.5, **query: Any) -> None:
        self.embedder = FakeEmbedder()
        self.servers = FakeServer([0]), FakeServer([1])
        self.state = FakeState()
        asked: dict[str, Any] = {"text": "red", "k": 2, **query}
        self.query = Query(**asked)
        config = Config(middle=Middle(cache=cache, min_coverage=min_coverage))
        self.cache = PredictionCache(config.middle, CacheEpoch())
        self.pipeline = Pipeline(
            cast(Embedder, self.embedder),
            fan_out_of(*self.servers),
            self.cache,
            cast(UpstreamState, self.state),
            config,
        )

    def key(self, image: ImageFile | None = None) -> ResultKey | None:
        return self.pipeline.key_of(self.query, image)

    async def ask(
        self, seconds: float = 10.0, bypass: bool = False, image: ImageFile | None = None
    ) -> CachedAnswer:
        deadline = asyncio.get_running_loop().time() + seconds
        key = self.key(image)
        return await self.pipeline.answer(self.query, image, key, deadline, bypass=bypass)

    def asked(self) -> list[list[int]]:
        """For how many hits the first server was asked, by message."""
        return [[query.k for query in batch.queries] for batch in self.servers[0].batches]


def paths(found: CachedAnswer) -> list[str]:
    """The paths of the hits, best first."""
    return [hit.path for hit in found.answer.hits]
