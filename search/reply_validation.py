"""The checks of a search server's reply: a reply that no correct server can give is refused.

A wrong hit looks like any other hit after the merge. One wrong value is enough to refuse a reply.
"""

from collections.abc import Collection, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from common.errors import InvalidResponse
from common.wire import Matrix, decode_reply
from search.browse_messages import (
    MAX_COUNTED,
    BrowseRequest,
    CountRequest,
    Counts,
    Listed,
    ShardReply,
    is_in_order,
)
from search.image_key import IMAGE_KEY, shard_of
from search.messages import REGION_BYTES, Hits, Info, LookupReply, SearchReply

ROUNDING = 1e-3
"""How far the cosine of float32 unit vectors may exceed 1; search/app.py allows it for lengths."""


def validate_search(
    body: bytes,
    ks: Sequence[int],
    version_digest: str | None,
    min_position: int = 0,
    shards: Collection[int] | None = None,
) -> SearchReply:
    """Decode the reply to queries for `ks` hits. Raises InvalidResponse.

    `version_digest` is the version that was asked for, None for any; `shards` alike.
    """
    reply = decode_reply(body, SearchReply)
    _check_position(reply.position, min_position)
    numbers = [shard_hits.shard for shard_hits in reply.shards]
    _expect(len(set(numbers)) == len(numbers), "a shard twice")
    _check_version(reply, numbers, version_digest)
    _expect(shards is None or set(numbers) <= set(shards), "a shard that was not asked for")
    _check_hits(reply, ks)
    return reply


def validate_lookup(body: bytes, min_position: int = 0) -> LookupReply:
    """Decode the reply to a lookup, with a unit vector; raises InvalidResponse."""
    reply = decode_reply(body, LookupReply)
    _check_position(reply.position, min_position)
    _expect(len(reply.vector) == 4 * reply.dim, "no vector")
    length = float(np.linalg.norm(np.frombuffer(reply.vector, "<f4")))
    _expect(abs(length - 1) < ROUNDING, "no unit vector")
    return reply


def validate_info(body: bytes) -> Info:
    """Decode what a server holds; raises InvalidResponse."""
    info = decode_reply(body, Info)
    _check_position(info.position, 0)
    return info


def _check_position(position: int, at_least: int) -> None:
    _expect(at_least <= position < 2**63, f"position {position}, not {at_least} or later")


def validate_browse(body: bytes, request: BrowseRequest) -> ShardReply[list[Listed]]:
    """Decode the images that a server lists; raises InvalidResponse."""
    reply = decode_reply(body, ShardReply[list[Listed]])
    _check_version(reply, reply.shards, request.version_digest)
    _check_position(reply.position, request.min_position)
    for listed in reply.shards.values():
        places = [image.place for image in listed]
        _expect(len(listed) <= request.limit, "more images than were asked for")
        _expect(all(len(image.key) == IMAGE_KEY.itemsize for image in listed), "no key")
        before = [request.after] if request.after else []
        _expect(is_in_order([*before, *places]), "images that are not in order")
    return reply


def validate_counts(body: bytes, request: CountRequest) -> ShardReply[Counts]:
    """Decode a server's counts of values; raises InvalidResponse."""
    reply = decode_reply(body, ShardReply[Counts])
    _check_version(reply, reply.shards, request.version_digest)
    _check_position(reply.position, request.min_position)
    for found in reply.shards.values():
        _expect(len(found.fields) == len(request.fields), "not an answer for each field")
        for counts in found.fields:
            _expect(len(counts) <= MAX_COUNTED, "too many values")
            _expect(all(0 < value.count <= found.images for value in counts), "no count")
    return reply


def _check_version(
    reply: SearchReply | ShardReply[Any], numbers: Collection[int], version_digest: str | None
) -> None:
    _expect(version_digest in (None, reply.version_digest), "another version")
    _expect(reply.shard_count > 0, "that an index has no shards")
    _expect(all(0 <= number < reply.shard_count for number in numbers), "a shard that is none")


def _check_hits(reply: SearchReply, ks: Sequence[int]) -> None:
    lengths = {len(shard_hits.hits) for shard_hits in reply.shards}
    _expect(lengths <= {len(ks)}, "not an answer for each query")
    found = [hits for shard_hits in reply.shards for hits in shard_hits.hits]
    counts = np.array(list(map(_count, found, cycle(ks))), dtype=np.intp)
    scores = np.frombuffer(b"".join([hits.scores for hits in found]), "<f4")
    _expect(bool((np.abs(scores) <= 1 + ROUNDING).all()), "a score that is no cosine")
    rises = np.flatnonzero(scores[1:] > scores[:-1]) + 1
    _expect(bool(np.isin(rises, np.cumsum(counts)).all()), "hits that are not the best first")
    _check_regions(np.frombuffer(b"".join([hits.regions for hits in found]), "<f4"))
    keys = np.frombuffer(b"".join([hits.keys for hits in found]), IMAGE_KEY)
    contents = keys["content"].astype(np.uint64)
    shards = shard_of(contents, reply.shard_count, reply.sharding)
    numbers = np.repeat([shard_hits.shard for shard_hits in reply.shards], len(ks))
    _expect(bool((shards == np.repeat(numbers, counts)).all()), "another shard's images")


def _check_regions(numbers: Matrix) -> None:
    x0, y0, x1, y1 = numbers.reshape(-1, 4).T
    is_whole = (x1 == 0) & (y1 == 0)
    is_part = (x0 >= 0) & (x0 < x1) & (x1 <= 1) & (y0 >= 0) & (y0 < y1) & (y1 <= 1)
    _expect(bool((is_whole | is_part).all()), "a region that is none")


def _count(hits: Hits, k: int) -> int:
    count = len(hits.records)
    _expect(count <= k, "more hits than were asked for")
    columns = (len(hits.scores), len(hits.keys))
    _expect(columns == (4 * count, IMAGE_KEY.itemsize * count), "columns of unequal length")
    _expect(len(hits.regions) in (0, REGION_BYTES * count), "columns of unequal length")
    if hits.beyond is not None:
        most = hits.last_score if count else 1 + ROUNDING
        _expect(-1 - ROUNDING <= hits.beyond <= most, "that it left out the best")
    return count


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidResponse(f"a search server answered {otherwise}")
