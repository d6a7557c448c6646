"""The app of a search server: it finds the nearest images in the shards that it holds."""

import math
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from common.errors import (
    BadRequest,
    ClientDisconnected,
    DeadlineExceeded,
    NotFound,
    ServiceError,
    Unavailable,
)
from common.internal_auth import InternalAuth
from common.metrics import DROPPED
from common.server.internal_auth import authorize
from common.server.request import check_digests, deadline_of, is_gone, take_body
from common.server.service import create_service, on_close
from common.wire import MSGPACK, Matrix, decode, encode, pack_rows, unpack_rows
from search.browse_messages import (
    MAX_FIELDS,
    MAX_LISTED,
    BrowseRequest,
    CountRequest,
    ShardReply,
)
from search.filter import check_field, check_fields
from search.image_key import is_short, parse_id, shard_of
from search.index import ef_of_shard
from search.index_versions import IndexVersions
from search.messages import (
    MAX_SHARD_HITS,
    Info,
    LookupReply,
    LookupRequest,
    SearchReply,
    SearchRequest,
    ShardHits,
)
from search.ranking import Ranking, best_of_all
from search.shard import Found, Shard
from search.version import Version

MAX_BODY_BYTES = 64 * 2**20


def start_app(
    versions: IndexVersions, ef_search: int, threads: int, inside: InternalAuth, address: str
) -> Flask:
    """Create the app, let in only callers that `inside` allows, and follow new versions."""
    app = create_app(versions, ef_search, threads)
    authorize(app, inside, address)
    versions.start()
    on_close(app, versions.close)
    return app


def create_app(versions: IndexVersions, ef_search: int, threads: int) -> Flask:
    """Create the app for `versions`. Each shard is searched on `threads` threads."""

    def is_ready() -> str | None:
        try:
            versions.newest()
        except ServiceError as error:
            return error.detail
        return None

    app = create_service("search", is_ready, MAX_BODY_BYTES)
    check_digests(app)

    @app.post("/search")
    def search() -> Response:
        deadline = deadline_of(request, math.inf)
        message = decode(take_body(), SearchRequest)
        version = versions.get(message.version_digest)
        version.wait_for(message.min_position, deadline)
        reply = _search(version, message, ef_search, threads, deadline)
        return Response(encode(reply), content_type=MSGPACK)

    @app.post("/lookup")
    def lookup() -> Response:
        deadline = deadline_of(request, math.inf)
        message, version = decode(take_body(), LookupRequest), versions.newest()
        version.wait_for(message.min_position, deadline)
        position = version.position  # before the look-up, which may have later entries, too
        part, row = _find(version, message.id)
        named, dim, space = version.manifest.version, version.manifest.dim, version.manifest.space
        vector = pack_rows(part.vector(row))
        reply = LookupReply(part.record(row), dim, vector, named, space, position)
        return Response(encode(reply), content_type=MSGPACK)

    @app.get("/info")
    def info() -> Response:
        info = _info(versions.newest(), versions)
        return Response(encode(info), content_type=MSGPACK)

    _add_browsing(app, versions)
    return app


def _add_browsing(app: Flask, versions: IndexVersions) -> None:
    @app.post("/browse")
    def browse() -> Response:
        message = decode(take_body(), BrowseRequest)
        if not 0 < message.limit <= MAX_LISTED:
            raise BadRequest(f"list 1 to {MAX_LISTED} images")
        return _of_shards(
            versions.get(message.version_digest),
            message,
            lambda shard: shard.browse(message.filter, message.after, message.limit),
        )

    @app.post("/counts")
    def counts() -> Response:
        message = decode(take_body(), CountRequest)
        if not 0 < len(message.fields) <= MAX_FIELDS:
            raise BadRequest(f"count the values of 1 to {MAX_FIELDS} fields")
        return _of_shards(
            versions.get(message.version_digest),
            message,
            lambda shard: shard.counts(message.filter, message.fields),
        )


def _info(version: Version, versions: IndexVersions) -> Info:
    manifest, shards, refusal = version.manifest, version.shards, versions.refusal
    made = sum(manifest.shards[shard].count for shard in shards)
    return Info(
        version=manifest.version,
        space=manifest.space,
        model=manifest.model,
        dim=manifest.dim,
        images=manifest.count,
        shards=list(shards),
        shard_count=len(manifest.shards),
        version_digest=manifest.sha256,
        refused=refusal.named.sha256 if refusal and refusal.named else "",
        reason=refusal.reason if refusal else versions.store_error or version.stopped,
        fields=version.fields,
        position=version.position,
        log_id=version.log_id,
        delta_rows=sum(shard.delta.rows for shard in shards.values()),
        tombstones=sum(shard.tombstones for shard in shards.values()),
        live_change=sum(shard.count for shard in shards.values()) - made,
        sharding=manifest.sharding,
    )


def _check_wanted(deadline: float) -> None:
    """Raise DeadlineExceeded after the deadline, ClientDisconnected if the caller has gone."""
    if time.monotonic() > deadline:
        raise DeadlineExceeded("the deadline passed before all shards were searched")
    if is_gone(request):
        DROPPED.labels("search", "caller_gone").inc()
        raise ClientDisconnected("whoever asked has closed the connection")


def _of_shards(
    version: Version, message: BrowseRequest | CountRequest, find: Callable[[Shard], Any]
) -> Response:
    """What is found in each shard of a version.

    Raises BadRequest, DeadlineExceeded, ClientDisconnected.
    """
    deadline, manifest = deadline_of(request, math.inf), version.manifest
    version.wait_for(message.min_position, deadline)
    if message.filter:
        check_fields(message.filter, version.fields)
    for field in message.fields if isinstance(message, CountRequest) else ():
        check_field(field, version.fields, "field")
    position = version.position  # before the shards, which may have later entries, too
    shards = {}
    for number, shard in version.shards.items():
        _check_wanted(deadline)
        shards[number] = find(shard)
    named, total = manifest.named, len(manifest.shards)
    reply = ShardReply(named.version, named.sha256, manifest.space, total, shards, position)
    return Response(encode(reply), content_type=MSGPACK)


def _search(
    version: Version, message: SearchRequest, ef_search: int, threads: int, deadline: float
) -> SearchReply:
    """Search all queries of a message in each shard of a version.

    Raises BadRequest, DeadlineExceeded, ClientDisconnected.
    """
    manifest = version.manifest
    vectors = _vectors(message, manifest.dim)
    if message.filter:
        check_fields(message.filter, version.fields)
    position = version.position  # before the search, which may have later entries, too
    ef = ef_of_shard(ef_search, len(manifest.shards))
    found: dict[int, Ranking] = {}
    for number, shard in version.shards.items():
        if message.shards is not None and number not in message.shards:
            continue
        _check_wanted(deadline)
        found[number] = shard.rank(vectors, message.ks, ef, threads, message.filter)
    if message.most is None:
        hits = [ranking.hits() for ranking in found.values()]
    else:
        hits = best_of_all(list(found.values()), message.most)
    shards = list(map(ShardHits, found, hits))
    named, total = manifest.named, len(manifest.shards)
    return SearchReply(
        *(named.version, named.sha256, manifest.space, total, shards, position),
        manifest.sharding,
    )


def _vectors(message: SearchRequest, dim: int) -> Matrix:
    """The vectors of a message, checked, as hnswlib checks nothing; raises BadRequest."""
    if message.dim != dim:
        raise BadRequest(f"the index has {dim} dimensions, the query {message.dim}", "wrong_length")
    vectors = unpack_rows(message.vectors, dim)
    ks = message.ks
    if not ks or len(ks) != len(vectors) or not all(0 < k <= MAX_SHARD_HITS for k in ks):
        raise BadRequest(f"give vectors, and each one k of 1 to {MAX_SHARD_HITS}")
    if message.most is not None and (len(message.most) != len(vectors) or min(message.most) < 1):
        raise BadRequest("`most` is one number for each vector, 1 or more")
    lengths = (vectors * vectors).sum(axis=1)
    if not (abs(lengths - 1) < 1e-3).all():  # also refuses NaN
        raise BadRequest("vectors must be finite and of length 1")
    return vectors


def _find(version: Version, image_id: str) -> Found:
    """The image of an id, or of the start of an id that makes its number."""
    if is_short(image_id):
        number = int(image_id, 16)
        found = [shard.find_number(number) for shard in version.shards.values()]
    else:
        content, location = parse_id(image_id)
        manifest = version.manifest
        held = version.shards.get(shard_of(content, len(manifest.shards), manifest.sharding))
        if held is None:
            raise Unavailable("this server does not hold the shard of this id", "wrong_shard")
        found = [held.find(content, location)]
    for image in found:
        if image is not None:
            return image
    raise NotFound("no image has this id", "unknown_id")
