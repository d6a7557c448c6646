"""The middle server: queries in JSON (load tests, scripts) or msgpack (front), answers in JSON."""

from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, g, request

from common.config import Config, Search
from common.deadline import deadline_of
from common.digest import check_digests
from common.errors import UnsupportedMedia
from common.inside import Inside
from common.json_input import decode_json
from common.metrics import ANSWERS
from common.service import create_service, on_close, wants_fresh
from common.wire import MSGPACK, decode
from inference.client import InferenceClient
from middle.cache import Embeddings, PredictionCache
from middle.classifier import Classifier
from middle.embedder import Embedder
from middle.fan_out import FanOut
from middle.messages import (
    ClassifyQuery,
    EmbedQuery,
    Query,
    check,
    check_classify,
    check_embed,
)
from middle.results import Results, Served
from middle.searcher import Searcher
from middle.store import Generation
from middle.watch import Watch
from search.client import SearchServer

JSON = "application/json"
Message = TypeVar("Message")
_encoder = msgspec.json.Encoder()
_counts = {False: ANSWERS.labels("full"), True: ANSWERS.labels("degraded")}


def create_app(config: Config, root: Path, generation: Generation) -> Flask:
    """Serve queries with the servers of `config`; called in each worker, after the fork."""
    how = config.inference
    key_file = root / how.key_file if how.key_file else None
    inside = Inside(config.inside, root)
    inference = InferenceClient(f"{how.address}:{how.port}", key_file, inside)
    fan_out = _create_fan_out(config.search, inside)
    watch = Watch(inference, fan_out)
    cache = PredictionCache(config.middle, generation)
    embedder = Embedder(inference, Embeddings(inference, cache, watch))
    searcher = Searcher(embedder, fan_out, config.middle.min_coverage)
    results = Results(searcher, cache, watch, config.search.ef_search)
    classifier = Classifier(embedder)
    for part in (searcher, cache, watch):
        part.start()
    deadline = partial(deadline_of, request, config.middle.deadline_ms / 1000)

    def is_ready() -> str | None:
        return searcher.why_not_ready(deadline())

    app = create_service("middle", is_ready, config.max_message_bytes)
    inside.guard(app, config.middle.address)
    check_digests(app)
    for part in (searcher, cache, watch):
        on_close(app, part.close)

    @app.post("/search")
    def search() -> Response:
        until = deadline()
        return _served(results.answer(check(_body(Query)), until, fresh=wants_fresh(request)))

    @app.post("/embed")
    def embed() -> Response:
        until = deadline()
        query = check_embed(_body(EmbedQuery))
        return _reply(searcher.embed(query, until, fresh=wants_fresh(request)))

    @app.post("/classify")
    def classify() -> Response:
        until = deadline()
        query = check_classify(_body(ClassifyQuery))
        return _reply(classifier.classify(query, until, fresh=wants_fresh(request)))

    @app.delete("/cache")
    def purge() -> Response:
        cache.purge(deadline())
        return Response(status=204)

    @app.get("/images/<image_id>")
    def image(image_id: str) -> Response:
        return _json(searcher.image(image_id, deadline()))

    @app.get("/info")
    def info() -> Response:
        return _json(searcher.info(deadline()))

    return app


def _create_fan_out(search: Search, inside: Inside) -> FanOut:
    entries = range(len(search.server_list))
    servers = [SearchServer(f"search-{i}", search.replicas(i), inside) for i in entries]
    holds = [search.shards_of(i, search.shard_count) for i in entries]
    return FanOut(servers, holds, search.shard_count)


def _body(kind: type[Message]) -> Message:
    """The message in the request's body; raises BadRequest or UnsupportedMedia."""
    data = request.get_data(cache=False)
    sent = request.content_type
    if sent not in (MSGPACK, JSON):
        sent = request.mimetype  # which takes longer: without what comes after a semicolon
    if sent == MSGPACK:
        return decode(data, kind)
    if sent == JSON:
        return decode_json(data, kind)
    raise UnsupportedMedia("send application/json")


def _served(served: Served) -> Response:
    _counts[served.answer.coverage.degraded].inc()
    g.took_ms = served.answer.took_ms
    response = _reply(served.answer)
    response.headers["X-Cache"] = served.outcome
    if served.outcome == "hit":
        response.headers["Age"] = str(int(served.age_s))
    return response


def _reply(answer: Any) -> Response:
    answer.request_id = g.request_id
    return _json(answer)


def _json(message: Any) -> Response:
    return Response(_encoder.encode(message), content_type=JSON)
