"""The middle server: queries in JSON (load tests, scripts) or msgpack (front), answers in JSON."""

import re
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, g, request

from common.config import Config
from common.errors import UnsupportedMedia
from common.service import create_service, on_close
from common.wire import MSGPACK, decode
from inference.client import InferenceClient
from middle.classifier import Classifier
from middle.embedder import Embedder
from middle.fan_out import FanOut
from middle.messages import (
    DEADLINE_HEADER,
    ClassifyQuery,
    EmbedQuery,
    Query,
    check,
    check_classify,
    check_embed,
    decode_json,
)
from middle.searcher import Searcher
from search.client import SearchServer

Message = TypeVar("Message")
_encoder = msgspec.json.Encoder()


def create_app(config: Config, root: Path) -> Flask:
    """Serve queries with the servers of `config`; called in each worker, after the fork."""
    inference = config.inference
    key_file = root / inference.key_file if inference.key_file else None
    embedder = Embedder(InferenceClient(f"{inference.address}:{inference.port}", key_file))
    searcher = _create_searcher(config, embedder)
    classifier = Classifier(embedder)
    searcher.start()
    deadline_s = config.middle.deadline_ms / 1000

    def deadline() -> float:
        given = request.headers.get(DEADLINE_HEADER, "")
        left_s = int(given) / 1000 if re.fullmatch("[0-9]{1,9}", given) else deadline_s
        return time.monotonic() + min(deadline_s, left_s)

    def is_ready() -> str | None:
        return searcher.why_not_ready(time.monotonic() + deadline_s)

    app = create_service("middle", is_ready, config.max_message_bytes)
    on_close(app, searcher.close)

    @app.post("/search")
    def search() -> Response:
        until = deadline()
        return _reply(searcher.answer(check(_body(Query)), until))

    @app.post("/embed")
    def embed() -> Response:
        until = deadline()
        return _reply(searcher.embed(check_embed(_body(EmbedQuery)), until))

    @app.post("/classify")
    def classify() -> Response:
        until = deadline()
        return _reply(classifier.classify(check_classify(_body(ClassifyQuery)), until))

    @app.get("/images/<image_id>")
    def image(image_id: str) -> Response:
        return _json(searcher.image(image_id, deadline()))

    @app.get("/info")
    def info() -> Response:
        return _json(searcher.info(deadline()))

    return app


def _create_searcher(config: Config, embedder: Embedder) -> Searcher:
    search = config.search
    entries = range(len(search.server_list))
    servers = [SearchServer(f"search-{i}", search.replicas(i)) for i in entries]
    return Searcher(
        embedder,
        FanOut(
            servers, [search.shards_of(i, search.shard_count) for i in entries], search.shard_count
        ),
        config.middle.min_coverage,
    )


def _body(kind: type[Message]) -> Message:
    """The message in the request's body; raises BadRequest or UnsupportedMedia."""
    data = request.get_data(cache=False)
    if request.mimetype == MSGPACK:
        return decode(data, kind)
    if request.mimetype == "application/json":
        return decode_json(data, kind)
    raise UnsupportedMedia("send application/json")


def _reply(answer: Any) -> Response:
    answer.request_id = g.request_id
    return _json(answer)


def _json(message: Any) -> Response:
    return Response(_encoder.encode(message), content_type="application/json")
