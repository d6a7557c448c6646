"""The middle server: queries in JSON (load tests, scripts) or msgpack (front), answers in JSON."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, g, request
from msgspec.structs import replace

from common.cache_epoch import CacheEpoch
from common.config import Config, Middle
from common.errors import UnsupportedMedia
from common.files import content_hash
from common.internal_auth import InternalAuth
from common.json_input import decode_json
from common.loop import LoopThread
from common.metrics import ANSWERS
from common.server.body import read_unused
from common.server.internal_auth import authorize
from common.server.request import (
    bypasses_cache,
    check_digests,
    deadline_of,
    embed_deadline_of,
    long_deadline_of,
    take_body,
)
from common.server.service import create_service, on_close
from common.wire import CACHE_VERSION_HEADER, MSGPACK, decode
from middle.browse_messages import BrowseAnswer, BrowseQuery, CountsQuery, FacetsAnswer
from middle.cache_keys import ImageFile, image_file, normal_text
from middle.embed import answer_inputs
from middle.language import is_english
from middle.messages import (
    Answer,
    ClassifyAnswer,
    ClassifyQuery,
    EmbedAnswer,
    EmbedQuery,
    Image,
    Info,
    Query,
)
from middle.pipeline import CachedAnswer
from middle.query_checks import check, check_browse, check_classify, check_embed, check_segment
from middle.segment_messages import SegmentAnswer, SegmentQuery
from middle.services import Services
from middle.write_checks import check_metadata, check_put
from middle.write_messages import PatchQuery, PutQuery
from middle.writes import Writes
from search.messages import Info as SearchInfo
from search.messages import Kind

JSON = "application/json"
Message = TypeVar("Message")
_encoder = msgspec.json.Encoder()
_counts = {False: ANSWERS.labels("full"), True: ANSWERS.labels("degraded")}


def create_app(config: Config, root: Path, epoch: CacheEpoch) -> Flask:
    """The Flask app that answers queries; called in each worker, after the fork.

    A view checks its request and hands the work to the event loop.
    """
    inside, loop = InternalAuth(config.inside, root), LoopThread()
    services = Services(config, root, inside, epoch)
    new_deadline = partial(deadline_of, request, config.middle.deadline_ms / 1000)
    app = create_service(
        "middle", lambda: loop.run(services.why_not_ready(new_deadline())), config.max_message_bytes
    )
    authorize(app, inside, config.middle.bound[0])
    check_digests(app)
    read_unused(app)
    is_english("a")  # loads the dictionary, so that no query waits for it
    loop.start()
    loop.run(services.start())
    on_close(app, loop.close)
    on_close(app, lambda: loop.run(services.close()))
    _add_queries(app, services, loop, config.middle)
    _add_browsing(app, services, loop, new_deadline)
    _add_writes(app, services.writes, loop, config.middle)

    @app.delete("/cache")
    def purge() -> Response:
        loop.run(services.cache.purge(new_deadline()))
        return Response(status=204)

    @app.get("/cache")
    def cache() -> Response:
        return _json({"version": services.pipeline.cache_version()})

    @app.get("/images/<image_id>")
    def image(image_id: str) -> Response:
        position = request.args.get("min_position", 0, type=int)
        record = loop.run(services.writes.find(image_id, position, new_deadline())).record
        return _json(Image(image_id, record.told_path, record.metadata, record.path))

    @app.get("/info")
    def info() -> Response:
        return _json(_info_of(loop.run(services.fan_out.infos(new_deadline()))))

    return app


def _add_queries(app: Flask, services: Services, loop: LoopThread, middle: Middle) -> None:
    pipeline, classifier = services.pipeline, services.classifier
    new_deadline = partial(deadline_of, request, middle.deadline_ms / 1000)

    @app.post("/search")
    def search() -> Response:
        deadline, bypass = new_deadline(), bypasses_cache(request)
        query = check(_body(Query))
        if query.text is not None:
            query = replace(query, text=normal_text(query.text))
        image = image_file(query.image, query.region) if query.image is not None else None
        _check_position(services, loop, query.min_position, deadline)
        key = pipeline.key_of(query, image)
        kept = None if bypass or key is None else pipeline.peek(key)
        if kept is None:
            kept = loop.run(pipeline.answer(query, image, key, deadline, bypass=bypass))
        return _answered(kept)

    @app.post("/embed")
    def embed() -> Response:
        deadline, bypass = embed_deadline_of(request, middle), bypasses_cache(request)
        query = check_embed(_body(EmbedQuery))
        images = _image_files(query)
        answering = answer_inputs(services.embedder, query, images, deadline, bypass=bypass)
        return _reply(loop.run(answering))

    @app.post("/classify")
    def classify() -> Response:
        deadline, bypass = new_deadline(), bypasses_cache(request)
        query = check_classify(_body(ClassifyQuery))
        images = _image_files(query)
        return _reply(loop.run(classifier.classify(query, images, deadline, bypass=bypass)))

    @app.post("/segment")
    def segment() -> Response:
        deadline = long_deadline_of(request, middle.segment_deadline_ms / 1000)
        query = check_segment(_body(SegmentQuery))
        image, bypass = image_file(query.image or b""), bypasses_cache(request)
        asking = services.segmenter.segment(query, image, deadline, bypass=bypass)
        answer, outcome = loop.run(asking)
        response = _reply(answer)
        if outcome:
            response.headers["X-Cache"] = outcome
        return response


def _add_browsing(
    app: Flask, services: Services, loop: LoopThread, new_deadline: Callable[[], float]
) -> None:
    browser = services.browser

    @app.post("/browse")
    def browse() -> Response:
        deadline, query = new_deadline(), check_browse(_body(BrowseQuery))
        _check_position(services, loop, query.min_position, deadline)
        return _reply(loop.run(browser.browse(query, deadline)))

    @app.post("/facets")
    def facets() -> Response:
        deadline, query = new_deadline(), check_browse(_body(CountsQuery))
        _check_position(services, loop, query.min_position, deadline)
        return _reply(loop.run(browser.facets(query, deadline)))


def _add_writes(app: Flask, writes: Writes, loop: LoopThread, middle: Middle) -> None:
    new_deadline = partial(deadline_of, request, middle.deadline_ms / 1000)

    @app.post("/images")
    def put() -> Response:
        deadline = long_deadline_of(request, middle.embed_deadline_ms / 1000)
        query = check_put(_body(PutQuery))
        content = content_hash(query.image)
        return _json(loop.run(writes.put(query, content, deadline)))

    @app.patch("/images/<image_id>")
    def patch(image_id: str) -> Response:
        changes = check_metadata(_body(PatchQuery).metadata)
        return _json(loop.run(writes.patch(image_id, changes, new_deadline())))

    @app.delete("/images/<image_id>")
    def delete(image_id: str) -> Response:
        return _json(loop.run(writes.delete(image_id, new_deadline())))


def _check_position(services: Services, loop: LoopThread, least: int, deadline: float) -> None:
    """Raise BadRequest for a position that nobody was told; known ones need no other thread."""
    if least > services.state.position():
        loop.run(services.writes.check_position(least, deadline))


def _image_files(query: EmbedQuery | ClassifyQuery) -> list[ImageFile]:
    return list(map(image_file, query.images, query.regions or [None] * len(query.images)))


def _body(kind: type[Message]) -> Message:
    """The message in the request's body; raises BadRequest or UnsupportedMedia."""
    data = take_body()
    sent = request.content_type
    if sent not in (MSGPACK, JSON):
        sent = request.mimetype  # slower: leaves out parameters such as charset
    if sent == MSGPACK:
        return decode(data, kind)
    if sent == JSON:
        return decode_json(data, kind)
    raise UnsupportedMedia("send application/json")


def _answered(cached: CachedAnswer) -> Response:
    _counts[cached.answer.coverage.degraded].inc()
    g.took_ms = cached.answer.took_ms
    response = _reply(cached.answer)
    response.headers["X-Cache"] = cached.outcome
    if cached.cache_version:
        response.headers[CACHE_VERSION_HEADER] = cached.cache_version
    if cached.outcome == "hit":
        response.headers["Age"] = str(int(cached.age_s))
    return response


def _info_of(infos: list[SearchInfo]) -> Info:
    """What can be searched, by what the search servers tell."""
    first, fields = infos[0], dict[str, set[Kind]]()
    for info in infos:
        for name, kinds in info.fields.items():
            fields.setdefault(name, set()).update(kinds)
    return Info(
        first.images + sum(info.live_change for info in infos),
        first.version,
        first.model,
        first.dim,
        first.shard_count,
        min(info.position for info in infos),
        {name: sorted(fields[name]) for name in sorted(fields)},
    )


def _reply(
    answer: Answer | BrowseAnswer | ClassifyAnswer | EmbedAnswer | FacetsAnswer | SegmentAnswer,
) -> Response:
    return _json(replace(answer, request_id=g.request_id))


def _json(message: Any) -> Response:
    return Response(_encoder.encode(message), content_type=JSON)
