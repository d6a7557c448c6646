"""The msgpack messages of the search servers."""

import struct
from typing import Literal

import msgspec

from search.filter import Filter

Kind = Literal["text", "number", "boolean"]
Fields = dict[str, list[Kind]]
"""What filters can test: the kinds of value that a field has, by its name."""
Metadata = dict[str, str | int | float | bool | None]
"""Fields of an image by their names."""

Sharding = Literal["range", "modulo"]
"""How the shard of an image follows from its content hash; releases before had "modulo"."""

MAX_SHARD_HITS = 10_000
"""Most hits of one query in one shard; middle asks for more than k if it drops copies."""


_score = struct.Struct("<f")
REGION_BYTES = 16
"""A region of a hit: four float32."""


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
    min_position: int = 0
    """The search waits for the entries of the log up to this position."""
    shards: list[int] | None = None
    """The shards to search, of those that the server holds; None: all that it holds."""
    most: list[int] | None = None
    """Of each query, the best hits of all shards that are needed; None: all `ks` of each shard."""


class Hits(msgspec.Struct, array_like=True):
    """One query's hits in one shard, best first: columns of equal length."""

    scores: bytes
    """float32 [hits]: the cosine."""
    keys: bytes
    """search.image_key.IMAGE_KEY [hits]."""
    records: list[msgspec.Raw]
    """An encoded `Record` for each hit; only the records of hits that are shown get decoded."""
    regions: bytes = b""
    """float32 [hits, 4]: the best part of each image, zeros for all of it; empty if no image has
    regions."""
    beyond: float | None = None
    """The best score of hits that are left out, as those of other shards are better; None: none
    is."""

    @property
    def last_score(self) -> float:
        """The score of the last hit, which there must be."""
        score: float = _score.unpack_from(self.scores, len(self.scores) - _score.size)[0]
        return score


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
    position: int = 0
    """The entries of the log up to this position are in the answer; later ones may be."""
    sharding: Sharding = "modulo"


class Record(msgspec.Struct, array_like=True):
    """The path and the metadata of an image."""

    path: str
    """Where the file is: absolute, or relative to the folder of config.json."""
    metadata: Metadata = {}
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


class LookupRequest(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The id of an image, 32 hex digits, or their first 13: one of the images with that number."""

    id: str
    min_position: int = 0
    """As of a SearchRequest."""


class LookupReply(msgspec.Struct):
    """An image of the newest version."""

    record: Record
    dim: int
    vector: bytes
    version: str
    space: str
    position: int = 0
    """As of a SearchReply."""


class Info(msgspec.Struct):
    """What a search server holds."""

    version: str
    space: str
    model: str
    dim: int
    images: int
    """Number of images in all shards of the version, also in shards of other servers; as prepare
    made it, without what was put or deleted since: see `live_change`."""
    shards: list[int]
    shard_count: int
    version_digest: str = msgspec.field(default="", name="seal")
    """The digest of the version's manifest."""
    refused: str = ""
    """The digest of a newer version that this server refused; "" if none."""
    reason: str = ""
    """Why that version was refused, or why the object storage or the log is not followed now."""
    fields: Fields = {}
    position: int = 0
    """Of the last entry of the log that this server has applied."""
    log_id: str = ""
    """Of the log that this server follows; "" if there is none yet."""
    delta_rows: int = 0
    """Images that were put since the version was made, in the shards of this server; those that
    were replaced count again."""
    tombstones: int = 0
    """Images in the shards of this server that were deleted or replaced."""
    live_change: int = 0
    """By how many the shards of this server have more images now than prepare made."""
    sharding: Sharding = "modulo"
