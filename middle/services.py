"""The parts of middle: clients of inference and search, the cache, the pipeline."""

from pathlib import Path

from common.cache_epoch import CacheEpoch
from common.config import Config, Search
from common.errors import ServiceError
from common.http_client import HttpClient
from common.internal_auth import InternalAuth
from inference.client import InferenceClient
from middle.browse import Browser
from middle.classify import Classifier
from middle.embed import Embedder
from middle.fan_out import FanOut
from middle.pipeline import Pipeline
from middle.prediction_cache import PredictionCache
from middle.segmenter import Segmenter
from middle.upstream_state import UpstreamState
from middle.writes import Writes
from search.client import SearchServer
from search.log import open_log


class Services:
    """Creates and closes the parts, on one event loop; deadlines are on time.monotonic()."""

    def __init__(self, config: Config, root: Path, inside: InternalAuth, epoch: CacheEpoch) -> None:
        """Opens nothing."""
        key_file = root / config.inference.key_file if config.inference.key_file else None
        self._http = HttpClient(inside)
        self._inference = InferenceClient(config.inference.addresses, key_file, inside)
        self.fan_out = _create_fan_out(config.search, self._http)
        self.state = UpstreamState(self._inference, self.fan_out, epoch)
        self.cache = PredictionCache(config.middle, epoch)
        self.embedder = Embedder(self._inference, self.cache, self.state)
        self.pipeline = Pipeline(self.embedder, self.fan_out, self.cache, self.state, config)
        self.browser = Browser(self.fan_out, config.middle.min_coverage)
        self.classifier = Classifier(self.embedder)
        live = open_log(config.log, root), self._inference, self.fan_out, self.state
        self.writes = Writes(*live, config.live.max_delta)
        self.segmenter = Segmenter(self._inference, self.cache, self.state)

    async def start(self) -> None:
        """Start to watch inference and search."""
        await self.state.start()

    async def close(self) -> None:
        """Write the waiting cache values, and close the connections."""
        for part in (
            self.state,
            self.writes,
            self.cache,
            self.fan_out,
            self._inference,
            self._http,
        ):
            await part.close()

    async def why_not_ready(self, deadline: float) -> str | None:
        """None if inference and search answer, else the reason."""
        if not await self._inference.is_alive(deadline):
            return "the inference server does not answer"
        if not self.fan_out.has_servers:
            return None
        try:
            await self.fan_out.info(deadline)
        except ServiceError as error:
            return error.detail
        return None


def _create_fan_out(search: Search, http: HttpClient) -> FanOut:
    entries = range(len(search.server_list))
    servers = [SearchServer(f"search-{i}", search.replicas(i), http) for i in entries]
    return FanOut(servers, search.shards_of)
