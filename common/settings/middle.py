"""The section Middle of config.json."""

from typing import Annotated, Literal

from msgspec import Meta

from common.settings.section import (
    IN_FLIGHT_BYTES,
    Fraction,
    InFlightBytes,
    Listed,
    Port,
    Positive,
    Seconds,
)


class Middle(Listed, frozen=True):
    """The server that answers one query: embed, fan out, merge."""

    port: Annotated[Port, Meta(description="The port that the server listens on.")] = 8001
    workers: Annotated[
        Positive,
        Meta(
            description="The number of worker processes."
            " Each worker has its own `max-in-flight` and its own memory cache."
        ),
    ] = 1
    threads: Annotated[
        Positive | None,
        Meta(
            description="Has no effect: a worker has a thread for each request in hand."
            " A start with this key logs a warning."
        ),
    ] = None
    max_in_flight: Annotated[
        Positive,
        Meta(
            description="The most requests that a worker has in hand, each in a thread."
            " A further request is refused at once: 503 `overloaded`."
        ),
    ] = 256
    max_in_flight_bytes: InFlightBytes = IN_FLIGHT_BYTES
    deadline_ms: Annotated[
        Positive,
        Meta(
            description="The time for one query; the header `X-Deadline-Ms` can make it shorter."
            " A shard that is late is counted in `coverage` and not waited for."
        ),
    ] = 2000
    embed_deadline_ms: Annotated[
        Positive,
        Meta(
            description="The time for putting an image, and the most that `X-Deadline-Ms` can give"
            " to a request that only embeds. Without this header, that one has `deadline-ms`."
        ),
    ] = 10_000
    segment_deadline_ms: Annotated[
        Positive,
        Meta(
            description="The time for one segment; the header `X-Deadline-Ms` can make it shorter."
            " An image that a model encodes longer is answered with 503; it goes on and is kept."
        ),
    ] = 10_000
    min_coverage: Annotated[
        Fraction,
        Meta(
            description="The fraction of the shards that an answer needs."
            " With fewer shards, a query ends in 503 `insufficient_coverage`."
        ),
    ] = 0.5
    cache: Annotated[
        str,
        Meta(
            pattern="^(memory|off|rediss?://.+)$",
            description="Where the prediction cache is: `memory` (of each worker),"
            " `redis://HOST:PORT/DB` or `rediss://` (shared, Redis 6.2 or later), or `off`.",
        ),
    ] = "memory"
    cache_bytes: Annotated[
        Positive,
        Meta(
            description="The memory of each worker that the cache may take."
            " Redis has its own limit, `maxmemory`."
        ),
    ] = 64 * 2**20
    segment_cache_bytes: Annotated[
        Positive,
        Meta(
            description="As `cache-bytes`, for images that a model has encoded for segments:"
            " an image takes 2 MiB, with SAM 2 8 MiB."
        ),
    ] = 128 * 2**20
    cache_expiry_s: Annotated[
        Seconds, Meta(description="How long the cache keeps an entry; see `cache-policy`.")
    ] = 1800.0
    cache_policy: Annotated[
        Literal["idle", "absolute", "lru"],
        Meta(
            description="When an entry of the cache goes. `idle`: `cache-expiry-s` after its last"
            " use. `absolute`: `cache-expiry-s` after it was made. `lru`: only to make room."
        ),
    ] = "idle"
