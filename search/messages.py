"""The messages of the search servers, msgpack."""

import msgspec

MAX_SHARD_HITS = 10_000
"""Hits of one query from one shard; middle asks for more than k where it drops copies."""


class SearchRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Unit vectors, and for each how many hits are wanted."""

    dim: int
    vectors: bytes
    """float32, little-endian, [queries, dim]."""
    ks: list[int]
    version_digest: str | None = msgspec.field(default=None, name="seal")
    """Answer from the version whose manifest has this digest, kept for a while after a swap; None:
    from the newest."""


class Hits(msgspec.Struct, array_like=True):
    """One query's hits in one shard, best first: three columns of equal length."""

    scores: bytes
    """float32 [hits]: the cosine."""
    keys: bytes
    """search.image_key.IMAGE_KEY [hits]."""
    records: list[msgspec.Raw]
    """A `Record` each, decoded only for the hits that are shown."""


class ShardHits(msgspec.Struct, array_like=True):
    """What one shard found for each query, in order."""

    shard: int
    hits: list[Hits]


class SearchReply(msgspec.Struct):
    """All shards of this server, from one version."""

    version: str
    version_digest: str = msgspec.field(name="seal")
    """Of the manifest: a version that was made anew from nothing may have an old name."""
    space: str
    shard_count: int
    shards: list[ShardHits]


class Record(msgspec.Struct, array_like=True):
    """What is told of an image."""

    path: str
    metadata: dict[str, str | int | float | bool | None] = {}


class LookupRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The id of an image, 32 hex digits."""

    id: str


class LookupReply(msgspec.Struct):
    """An image of the newest version."""

    record: Record
    dim: int
    vector: bytes
    version: str
    space: str


class Info(msgspec.Struct):
    """What a search server holds."""

    version: str
    space: str
    model: str
    dim: int
    images: int
    """In all shards of the version, also those of other servers."""
    shards: list[int]
    shard_count: int
    version_digest: str = msgspec.field(default="", name="seal")
    """Of the version's manifest: one made anew from nothing may have the same name."""
    refused: str = ""
    """The version digest of a newer version that is not put in use, and why."""
    reason: str = ""
