"""The app of the public server: the search API, the images, the page and the docs."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from flask import Flask, Response, g, request, send_from_directory
from werkzeug.exceptions import RequestEntityTooLarge

from common.cache_epoch import CacheEpoch
from common.config import Config, Front
from common.errors import BadRequest, ServiceError, TooLarge
from common.http_client import Reply
from common.internal_auth import InternalAuth
from common.keys import Keys
from common.loop import LoopThread
from common.rate_limit import RateLimiter
from common.server.body import READ_BYTES, close_after_reply, has_body, read_unused
from common.server.problems import problem_response
from common.server.request import (
    bypasses_cache,
    deadline_of,
    embed_deadline_of,
    long_deadline_of,
)
from common.server.service import create_service, on_close
from front.answer_cache import AnswerCache, answer_key
from front.auth import authorize
from front.browser_headers import add_headers
from front.compression import add_compression
from front.docs import create_docs
from front.embed_reply import embed_reply
from front.image_fetch import Fetcher, Internet
from front.images import add_images
from front.new_images import NewImages
from front.query import (
    read_browse_query,
    read_classify_query,
    read_counts_query,
    read_embed_request,
    read_query,
    read_segment_request,
)
from front.query_image import QueryImages
from front.wires import add_wires
from front.wires.backend import Backend
from front.writes import add_writes
from middle.client import MiddleClient

STATIC = Path(__file__).resolve().parent / "static"
REFUSED = (401, 403, 429)
"""Statuses of requests that are refused before their body is read."""
CACHE_HEADERS = ("X-Cache", "Age")
"""Headers of middle's replies that are passed on."""


def create_app(
    config: Config, root: Path, epoch: CacheEpoch, internet: Internet | None = None
) -> Flask:
    """Create the app of the public API; relative image paths start from `root`.

    `epoch` is shared with the other worker processes. `internet` says which addresses an image_url
    may use; None allows public addresses only.
    """
    front, middle = config.front, config.middle
    client = MiddleClient(middle.addresses, middle.deadline_ms, InternalAuth(config.inside, root))
    loop = LoopThread()

    def is_ready() -> str | None:
        try:
            loop.run(client.ready())
        except ServiceError as error:
            return error.detail
        return None

    app = create_service("front", is_ready, front.max_body_bytes)
    answers = AnswerCache(config, epoch)
    loop.start()
    on_close(app, loop.close)
    on_close(app, lambda: loop.run(client.close()))
    loop.run(answers.start(client))
    on_close(app, lambda: loop.run(answers.close()))
    app.url_map.merge_slashes = False  # a path with `//` is not found: no redirects
    keys = Keys(root / front.keys_file if front.keys_file else None)
    rates = RateLimiter(front.rate_per_s, front.rate_burst) if front.rate_per_s else None
    authorize(app, keys, rates, front)  # first: a preflight request counts, too
    add_headers(app, front)
    if front.gzip:
        add_compression(app)
    app.register_blueprint(create_docs(keys.are_on))
    fetcher = _create_fetcher(app, front, internet or Internet())
    images = QueryImages(client, loop, fetcher, keys, root, front.max_body_bytes)
    new_deadline = partial(deadline_of, request, middle.deadline_ms / 1000)
    embed_deadline = partial(embed_deadline_of, request, middle)
    _add_search(app, client, loop, images, new_deadline, answers)
    segment_deadline = partial(long_deadline_of, request, middle.segment_deadline_ms / 1000)
    _add_segment(app, client, loop, images, segment_deadline)
    thumbnail_of = add_images(
        app, config, root, lambda image_id: loop.run(client.image(image_id)), answers.mark
    )
    add_writes(app, client, loop, NewImages(config, root), answers, middle)

    def shown(image_id: str) -> bytes:
        keys.check(request.headers.get("Authorization", ""), "images")
        return thumbnail_of(image_id)

    backend = Backend(client, loop, new_deadline, embed_deadline, images.fill, shown)
    _add_api(app, backend, answers)
    add_wires(app, front, backend)
    _add_page(app)
    _add_limit(app, front.max_body_bytes)
    return app


def _create_fetcher(app: Flask, front: Front, internet: Internet) -> Fetcher | None:
    if not front.image_url:
        return None
    fetcher = Fetcher(front, internet)
    on_close(app, fetcher.close)
    return fetcher


def _add_search(
    app: Flask,
    client: MiddleClient,
    loop: LoopThread,
    images: QueryImages,
    new_deadline: Callable[[], float],
    answers: AnswerCache,
) -> None:
    @app.route("/v1/search", methods=["GET", "POST"])
    def search() -> Response:
        query, bypass = read_query(request), bypasses_cache(request)
        images.check(query)  # before a kept answer is told
        key = answer_key(query)
        if key and not bypass and (kept := answers.get(key)):
            headers = {"X-Cache": "hit", "Age": str(answers.age_s(kept))}
            return _json(kept.body(g.request_id, g.since), headers)
        epoch = answers.epoch()
        query, deadline = images.fill(query, new_deadline)
        asking = client.search(query, deadline, bypass=bypass)
        del query  # with its image, which the message has too
        reply = loop.run(asking)
        if key:
            answers.keep(key, reply, epoch)
        return _cached(reply)


def _add_segment(
    app: Flask,
    client: MiddleClient,
    loop: LoopThread,
    images: QueryImages,
    new_deadline: Callable[[], float],
) -> None:
    @app.post("/v1/segment")
    def segment() -> Response:
        asked, bypass = read_segment_request(request), bypasses_cache(request)
        images.check(asked)
        asked, deadline = images.fill(asked, new_deadline)
        asking = client.segment(asked, deadline, bypass=bypass)
        del asked  # with its image, which the message has too
        return _cached(loop.run(asking))


def _add_api(app: Flask, backend: Backend, answers: AnswerCache) -> None:
    client, loop = backend.client, backend.loop

    @app.post("/v1/embed")
    def embed() -> Response:
        asked, bypass = read_embed_request(request), bypasses_cache(request)
        answer = backend.embed(
            [*asked.texts, *asked.images], asked.model, asked.regions, bypass=bypass
        )
        answer.request_id = g.request_id
        return embed_reply(answer, request)

    @app.post("/v1/classify")
    def classify() -> Response:
        bypass = bypasses_cache(request)
        asking = client.classify(
            read_classify_query(request), backend.new_deadline(), bypass=bypass
        )
        return _json(loop.run(asking).body)

    @app.get("/v1/images")
    def browse() -> Response:
        asking = client.browse(read_browse_query(request), backend.new_deadline())
        return _json(loop.run(asking).body)

    @app.get("/v1/facets")
    def facets() -> Response:
        asking = client.facets(read_counts_query(request), backend.new_deadline())
        return _json(loop.run(asking).body)

    @app.delete("/v1/cache")
    def purge() -> Response:
        try:
            loop.run(client.purge())
        finally:  # after middle, so that no answer of before is kept again
            answers.purge()
        return Response(status=204)

    @app.get("/v1/info")
    def info() -> Response:
        return _json(loop.run(client.info()))


def _add_page(app: Flask) -> None:
    @app.get("/")
    def page() -> Response:
        return send_from_directory(STATIC, "index.html")

    @app.get("/static/<path:name>")
    def static_file(name: str) -> Response:
        return send_from_directory(STATIC, name)


def _add_limit(app: Flask, max_body_bytes: int) -> None:
    read_unused(app)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> Response:
        limit = f"the body is over the limit: {max_body_bytes} bytes, in few parts"
        return problem_response(TooLarge(limit))

    @app.after_request
    def read_rest(response: Response) -> Response:
        """Read the rest of a body: with unread bytes, gunicorn would drop the connection."""
        if not has_body(request.environ):
            return response
        length = request.content_length or 0
        if length > READ_BYTES and response.status_code in REFUSED:
            close_after_reply()
        elif 0 < length <= max_body_bytes:
            with suppress(BadRequest):  # the reply has a reason already
                while request.environ["wsgi.input"].read(READ_BYTES):
                    pass
        return response


def _cached(reply: Reply) -> Response:
    """Middle's reply, with what it says of its cache."""
    told = {name: value for name in CACHE_HEADERS if (value := reply.headers.get(name))}
    return _json(reply.body, told)


def _json(body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, content_type="application/json", headers=headers)
