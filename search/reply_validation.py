"""The checks of a search server's reply: a reply that no correct server can give is refused.

A wrong hit looks like any other hit after the merge. One wrong value is enough to refuse a reply.
"""

from collections.abc import Sequence

import numpy as np

from common.errors import InvalidResponse
from common.wire import decode_reply
from search.image_key import IMAGE_KEY, shard_of
from search.messages import Hits, Info, LookupReply, SearchReply, ShardHits

ROUNDING = 1e-3
"""How far the cosine of float32 unit vectors may exceed 1; search/app.py allows it for lengths."""


def validate_search(body: bytes, ks: Sequence[int], version_digest: str | None) -> SearchReply:
    """Decode the reply to queries for `ks` hits. Raises InvalidResponse.

    `version_digest` is the version that was asked for, None for any.
    """
    reply = decode_reply(body, SearchReply)
    numbers = [shard_hits.shard for shard_hits in reply.shards]
    _expect(version_digest in (None, reply.version_digest), "another version")
    _expect(reply.shard_count > 0, "that an index has no shards")
    _expect(len(set(numbers)) == len(numbers), "a shard twice")
    _expect(all(0 <= number < reply.shard_count for number in numbers), "a shard that is none")
    for shard_hits in reply.shards:
        _check_shard(shard_hits, ks, reply.shard_count)
    return reply


def validate_lookup(body: bytes) -> LookupReply:
    """Decode the reply to a lookup, with a unit vector; raises InvalidResponse."""
    reply = decode_reply(body, LookupReply)
    _expect(len(reply.vector) == 4 * reply.dim, "no vector")
    length = float(np.linalg.norm(np.frombuffer(reply.vector, "<f4")))
    _expect(abs(length - 1) < ROUNDING, "no unit vector")
    return reply


def validate_info(body: bytes) -> Info:
    """Decode what a server holds; raises InvalidResponse."""
    return decode_reply(body, Info)


def _check_shard(shard_hits: ShardHits, ks: Sequence[int], shard_count: int) -> None:
    _expect(len(shard_hits.hits) == len(ks), "not an answer for each query")
    counts = [_count(hits, k) for hits, k in zip(shard_hits.hits, ks, strict=True)]
    scores = np.frombuffer(b"".join([hits.scores for hits in shard_hits.hits]), "<f4")
    _expect(bool((np.abs(scores) <= 1 + ROUNDING).all()), "a score that is no cosine")
    rises = np.flatnonzero(scores[1:] > scores[:-1]) + 1
    _expect(bool(np.isin(rises, np.cumsum(counts)).all()), "hits that are not the best first")
    keys = np.frombuffer(b"".join([hits.keys for hits in shard_hits.hits]), IMAGE_KEY)
    contents = keys["content"].astype(np.uint64)
    _expect(
        bool((shard_of(contents, shard_count) == shard_hits.shard).all()), "another shard's images"
    )


def _count(hits: Hits, k: int) -> int:
    count = len(hits.records)
    _expect(count <= k, "more hits than were asked for")
    columns = (len(hits.scores), len(hits.keys))
    _expect(columns == (4 * count, IMAGE_KEY.itemsize * count), "columns of unequal length")
    return count


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidResponse(f"a search server answered {otherwise}")
