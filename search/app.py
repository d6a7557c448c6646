"""The search server: nearest images of vectors, from the shards that it holds."""

import math
import time
from collections.abc import Callable

from flask import Flask, Request, Response, request

from common.digest import check_digests
from common.errors import BadRequest, DeadlineExceeded, NotFound, ServiceError, Unavailable
from common.peer import DEADLINE_HEADER, deadline_s
from common.service import create_service
from common.wire import MSGPACK, Matrix, decode, encode, pack_rows, unpack_rows
from search.index import ef_of_shard
from search.keys import parse_id, shard_of
from search.messages import (
    MAX_K,
    Info,
    LookupReply,
    LookupRequest,
    SearchReply,
    SearchRequest,
    ShardHits,
)
from search.shelf import Shelf, Version

MAX_BODY_BYTES = 64 * 2**20
GONE = "waitress.client_disconnected"


def create_app(shelf: Shelf, ef_search: int, threads: int) -> Flask:
    """Serve the versions on `shelf`, each batch on `threads` threads a shard."""

    def is_ready() -> str | None:
        try:
            shelf.newest()
        except ServiceError as error:
            return error.detail
        return None

    app = create_service("search", is_ready, MAX_BODY_BYTES)
    check_digests(app)

    @app.post("/search")
    def search() -> Response:
        wanted = Wanted(request)
        message = decode(request.get_data(), SearchRequest)
        reply = _search(shelf.get(message.version), message, ef_search, threads, wanted)
        return Response(encode(reply), content_type=MSGPACK)

    @app.post("/lookup")
    def lookup() -> Response:
        content, location = parse_id(decode(request.get_data(), LookupRequest).id)
        version = shelf.newest()
        manifest = version.manifest
        shard = version.shards.get(shard_of(content, len(manifest.shards)))
        if shard is None:
            raise Unavailable("this server does not hold the shard of this id", "wrong_shard")
        row = shard.find(content, location)
        if row is None:
            raise NotFound("no image has this id", "unknown_id")
        vector = pack_rows(shard.vector(row))
        reply = LookupReply(
            shard.record(row), manifest.dim, vector, manifest.version, manifest.space
        )
        return Response(encode(reply), content_type=MSGPACK)

    @app.get("/info")
    def info() -> Response:
        version = shelf.newest()
        manifest = version.manifest
        reply = Info(
            manifest.version,
            manifest.space,
            manifest.model,
            manifest.dim,
            manifest.count,
            list(version.shards),
            len(manifest.shards),
            manifest.created,
        )
        return Response(encode(reply), content_type=MSGPACK)

    return app


class Wanted:
    """Whether a request's answer still is: its deadline, and who waits for it."""

    def __init__(self, request: Request) -> None:
        self._is_gone: Callable[[], bool] = request.environ.get(GONE, lambda: False)
        self._until = time.monotonic() + deadline_s(request.headers.get(DEADLINE_HEADER), math.inf)

    def check(self) -> None:
        """Raise DeadlineExceeded when nobody wants it any more."""
        if time.monotonic() > self._until or self._is_gone():
            raise DeadlineExceeded("nobody waits for this answer any more")


def _search(
    version: Version, message: SearchRequest, ef_search: int, threads: int, wanted: Wanted
) -> SearchReply:
    """What the shards of a version have for a batch; raises BadRequest and DeadlineExceeded."""
    manifest = version.manifest
    vectors = _vectors(message, manifest.dim)
    ef = ef_of_shard(ef_search, len(manifest.shards))
    shards = []
    for number, shard in version.shards.items():
        wanted.check()
        shards.append(ShardHits(number, shard.search(vectors, message.ks, ef, threads)))
    return SearchReply(manifest.version, manifest.space, len(manifest.shards), shards)


def _vectors(message: SearchRequest, dim: int) -> Matrix:
    """The queries of a request, checked: hnswlib would take anything. Raises BadRequest."""
    if message.dim != dim:
        raise BadRequest(f"the index has {dim} dimensions, the query {message.dim}", "wrong_length")
    vectors = unpack_rows(message.vectors, dim)
    if len(vectors) != len(message.ks) or not all(0 < k <= MAX_K for k in message.ks):
        raise BadRequest(f"give each vector one k of 1 to {MAX_K}")
    lengths = (vectors * vectors).sum(axis=1)
    if not (abs(lengths - 1) < 1e-3).all():  # also refuses NaN
        raise BadRequest("vectors must be finite and of length 1")
    return vectors
