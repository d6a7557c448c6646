"""Text to ten hits under load, beside others and beside what limits it.

Everything that answers is started once and then takes turns under the same load, so that what
else the machine does meets all alike. While ours are under load, answers are taken and compared
with exact search.
"""

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from devtools import vectors
from benchmarks import drivers, embedding, generated, limits
from benchmarks.drivers import Measured
from benchmarks.figures import Contender, Figure, median_figure, ratio
from common.config import Loaded
from common.wire import Matrix
from inference.clip.model import Model
from devtools.services import Cluster, Service, cluster, with_section

SECTION = "search"
K = 10
SAMPLES = 60
"""Answers of each run that are compared with exact search."""
SHARDS = (1, 4, 21)
MANY = SHARDS[-1]
"""As many search servers as the original had."""
CACHED = "the same query each time, cached"


@dataclass
class Searching:
    """What all scenarios share, and what the answers were like."""

    loaded: Loaded
    model: Model
    collection: Path
    truth: Matrix
    folder: Path
    texts: Iterator[str]
    recalls: dict[str, list[float]] = field(default_factory=dict)
    busy_since: float = math.inf
    """When the first load began, on the clock of time.monotonic()."""

    def config(self, shards: int, cache: str) -> dict[str, Any]:
        """The config of a system with so many search servers."""
        config = with_section(generated.service_config(self.loaded), "Middle", cache=cache)
        return generated.index(config, shards, self.collection)


def unique(searching: Searching, service: Service, path: str, name: str) -> Contender:
    """Queries that never repeat; some answers are kept and checked."""

    def load() -> Measured:
        url = f"http://{service.address}{path}"
        searching.busy_since = min(searching.busy_since, time.monotonic())
        samples = list(itertools.islice(searching.texts, SAMPLES))
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(drivers.wrk, url, searching.texts, searching.folder)
            answers = take_answers(service, path, samples, under_way)
        found = vectors.recall(searching.truth, searching.model, answers, K)
        searching.recalls.setdefault(name, []).append(found)
        return under_way.result()

    return Contender(name, lambda: nullcontext(load))


def take_answers(
    service: Service, path: str, texts: Sequence[str], load: Future[Measured]
) -> dict[str, list[str]]:
    """The paths found for texts, asked one by one while `load` lasts; a failure finds nothing."""
    answers: dict[str, list[str]] = {}
    for text in texts:
        if load.done():
            break
        response = service.request("POST", path, json={"text": text, "k": K})
        hits = response.json()["hits"] if response.status == 200 else []
        answers[text] = [hit["path"] for hit in hits]
    return answers


def repeated(services: Cluster, folder: Path) -> list[Contender]:
    """One query over and over with ab: through middle, and through front."""
    text = "a lighthouse at dusk"
    body = folder / "body.json"
    body.write_text(json.dumps({"text": text}))
    middle = f"http://{services.middle.address}/search"
    front = f"http://{services.front.address}/v1/search?text={quote(text)}"

    return [
        Contender(f"middle, {CACHED}", lambda: nullcontext(drivers.repeated(middle, body))),
        Contender(f"front, {CACHED}", lambda: nullcontext(drivers.repeated(front))),
    ]


class Started(NamedTuple):
    """The system of MANY shards, and all who take turns."""

    many: Cluster
    contenders: list[Contender]


@contextmanager
def contenders(searching: Searching, others: Sequence[Contender]) -> Iterator[Started]:
    """Start ours, without a cache for each of SHARDS and once with, and what limits them."""
    loaded, folder, collection = searching.loaded, searching.folder, searching.collection
    settings = loaded.config.inference
    texts = list(itertools.islice(searching.texts, limits.QUERIES))
    queries = searching.model.encode_text(texts)
    ours: list[Contender] = []
    bounds: list[Contender] = []
    with ExitStack() as stack:
        for shards in SHARDS:
            config = searching.config(shards, cache="off")
            bounds.append(limits.hnswlib_alone(generated.parsed(config), collection, queries))
            uncached = stack.enter_context(cluster(config, shards, folder))
            ours.append(unique(searching, uncached.middle, "/search", ours_name(shards)))
        ours.append(unique(searching, uncached.front, "/v1/search", f"front, {MANY} shards"))
        kept = stack.enter_context(cluster(searching.config(1, cache="memory"), 1, folder))
        ours += repeated(kept, folder)
        bounds += [limits.hello(config, folder), embedding.bare_loop("text", settings, loaded.root)]
        yield Started(uncached, [*ours, *bounds, *others])


def ours_name(shards: int) -> str:
    """What ours is called with so many shards, by middle and without a cache."""
    return f"middle, {shards} shards"


def figures(
    runs: Mapping[str, Sequence[Measured]], recalls: Mapping[str, Sequence[float]]
) -> list[Figure]:
    """Rates, latencies and recall of all, and the ratios that were aimed at."""
    rates = {name: [one.requests_per_s for one in measured] for name, measured in runs.items()}
    found = [median_figure(SECTION, name, rates[name], "queries/s") for name in rates]
    for name in (*recalls, *(f"{who}, {CACHED}" for who in ("middle", "front"))):
        measured = runs[name]
        errors = sum(one.errors for one in measured)
        found += [
            median_figure(SECTION, f"{name}: p50", [one.p50_ms for one in measured], "ms"),
            median_figure(SECTION, f"{name}: p99", [one.p99_ms for one in measured], "ms"),
            Figure(SECTION, f"{name}: errors", errors, "queries", at_most=0),
        ]
    found += [
        median_figure(SECTION, f"{name}: recall@{K}", shares, "share")
        for name, shares in recalls.items()
    ]
    return [*found, *_ratios(rates), *_recall_lost(recalls), _share_of_limit(rates)]


def _ratios(rates: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Ours beside others and beside what limits it, a ratio a round; of what could be had."""
    many, one = ours_name(MANY), ours_name(1)
    wanted = (
        (many, "clip-as-service", 25),
        (many, "clip-retrieval", None),
        (many, "baseline", 8),
        (many, one, 0.5),
        (f"middle, {CACHED}", limits.FLASK, 0.75),
        (f"front, {CACHED}", limits.FLASK, 0.6),
    )
    return [
        median_figure(SECTION, f"{name} / {to}", ratio(rates, name, to), "x", at_least=at_least)
        for name, to, at_least in wanted
        if to in rates
    ]


def _recall_lost(recalls: Mapping[str, Sequence[float]]) -> list[Figure]:
    """How much less is found in many shards than in one; what is left of it is chance."""
    pairs = zip(recalls[ours_name(1)], recalls[ours_name(MANY)], strict=True)
    lost = [one - many for one, many in pairs]
    return [median_figure(SECTION, f"recall lost by {MANY} shards", lost, "share", at_most=0.01)]


def _share_of_limit(rates: Mapping[str, Sequence[float]]) -> Figure:
    """Ours of what the model, hnswlib and Flask, one after the other, would allow."""
    costs = zip(
        rates["text, bare loop"], rates[limits.hnswlib_name(MANY)], rates[limits.FLASK], strict=True
    )
    allowed = [1 / sum(1 / rate for rate in each) for each in costs]
    shares = [ours / limit for ours, limit in zip(rates[ours_name(MANY)], allowed, strict=True)]
    name = f"middle, {MANY} shards / (model + hnswlib + Flask)"
    return median_figure(SECTION, name, shares, "share", at_least=0.6)
