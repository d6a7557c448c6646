"""The msgpack messages of the search servers."""

from typing import Literal

import msgspec

from search.filter import Filter

Kind = Literal["text", "number", "boolean"]
Fields = dict[str, list[Kind]]
"""What filters can test: the kinds of value that a field has, by its name."""

MAX_SHARD_HITS = 10_000
"""Most hits of one query in one shard; middle asks for more than k if it drops copies."""


class SearchRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Unit vectors, and the number of hits for each."""

    dim: int
    vectors: bytes
    """float32, little-endian, [queries, dim]."""
    ks: list[int]
    version_digest: str | None = msgspec.field(default=None, name="seal")
    """The manifest digest of the version to search; None is the newest. After a swap, the previous
    version is kept for a while."""
    filter: Filter | None = None
    """Only images that pass are found."""


class Hits(msgspec.Struct, array_like=True):
    """One query's hits in one shard, best first: three columns of equal length."""

    scores: bytes
    """float32 [hits]: the cosine."""
    keys: bytes
    """search.image_key.IMAGE_KEY [hits]."""
    records: list[msgspec.Raw]
    """An encoded `Record` for each hit; only the records of hits that are shown get decoded."""


class ShardHits(msgspec.Struct, array_like=True):
    """The hits of one shard for each query, in order."""

    shard: int
    hits: list[Hits]


class SearchReply(msgspec.Struct):
    """The hits of all shards of a server, from one version."""

    version: str
    version_digest: str = msgspec.field(name="seal")
    """The manifest's digest; the name is not unique, for example after the index was deleted."""
    space: str
    shard_count: int
    shards: list[ShardHits]


class Record(msgspec.Struct, array_like=True):
    """The path and the metadata of an image."""

    path: str
    """Where the file is: absolute, or relative to the folder of config.json."""
    metadata: dict[str, str | int | float | bool | None] = {}
    told_from: int = 0
    """Where the part of `path` begins that answers tell."""
    offline: bool = False
    """Whether the file was absent when the index was built."""
    facts: dict[str, str | int] = {}
    """What is known of the file: `size` in bytes, `modified`, `taken`, `camera`."""

    @property
    def told_path(self) -> str:
        """The path that answers tell. It is never absolute, whatever the index holds."""
        told = self.path[self.told_from :]
        return told.rpartition("/")[2] if told.startswith("/") else told


class LookupRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The id of an image, 32 hex digits, or their first 13: one of the images with that number."""

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
    """Number of images in all shards of the version, also in shards of other servers."""
    shards: list[int]
    shard_count: int
    version_digest: str = msgspec.field(default="", name="seal")
    """The digest of the version's manifest."""
    refused: str = ""
    """The digest of a newer version that this server refused; "" if none."""
    reason: str = ""
    """Why that version was refused, or why the object storage is not followed now."""
    fields: Fields = {}
