"""The merge of the shards' hits into the k best hits overall."""

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from common.wire import UNREADABLE
from inference.messages import Region
from middle.messages import Dedup, Hit
from search.image_key import IMAGE_KEY, image_id
from search.messages import REGION_BYTES, Hits, Record

NEAR_BITS = 6
"""Images look the same if their 64-bit perceptual hashes differ in at most this many bits."""

SECOND_ASK_RATE = 0.002
"""The share of queries in which a shard may hold more of the k best than the first request asks
for. All shards are then asked again; at this rate, the cost is next to nothing."""

_SIZE = IMAGE_KEY.itemsize
_records = msgspec.msgpack.Decoder(Record)


class BrokenShard(Exception):
    """A record of a shard cannot be decoded; the shard must be left out."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"shard {shard} gave a record that is none")
        self.shard = shard


class Candidate(NamedTuple):
    """A hit before its record is decoded; `key` is the bytes of an `IMAGE_KEY`."""

    score: float
    shard: int
    key: bytes
    record: msgspec.Raw
    region: bytes
    """float32 [4]; empty or zeros for all of the image."""


@lru_cache(maxsize=4096)
def hits_per_shard(k: int, shards: int) -> int:
    """The number of hits to ask each shard for, nearly always enough for the k best overall.

    A hash of the content decides the shard of an image, so the number of the k best in a shard is
    binomial. Source: Vespa's top-k-probability for content nodes.
    """
    if shards < 2:
        return k
    chance = 1 / shards
    exactly = [
        math.comb(k, found) * chance**found * (1 - chance) ** (k - found) for found in range(k + 1)
    ]
    rest = 0.0
    for found in range(k, 0, -1):
        rest += exactly[found]
        if shards * rest > SECOND_ASK_RATE:
            return min(k, found + 1)
    return 1


def merge(
    shards: Mapping[int, Hits],
    k: int,
    dedup: Dedup = "none",
    min_score: float | None = None,
    like: str | None = None,
) -> list[Hit]:
    """The k best hits of all shards, best first, ties by shard; copies of a better hit dropped.

    `like` is the id of the query's image. The image and, by `dedup`, its copies are left out.
    Raises BrokenShard.
    """
    hits: list[Hit] = []
    for candidate in _distinct(_best_first(shards), k, dedup, bytes.fromhex(like or "")):
        if len(hits) == k or (min_score is not None and candidate.score < min_score):
            break
        hits.append(_hit(candidate))
    return hits


def is_complete(
    shards: Mapping[int, Hits], fetched: int, hits: Sequence[Hit], k: int, min_score: float | None
) -> bool:
    """Whether no image beyond those that the shards gave could belong among `hits`.

    Each gave the `fetched` best, or fewer. If copies are dropped, it may have better ones beyond
    them than other shards gave.
    """
    floor = hits[-1].score if len(hits) == k else (-1.0 if min_score is None else min_score)
    return all(_best_beyond(found, fetched) <= floor for found in shards.values())


def _best_beyond(found: Hits, fetched: int) -> float:
    """What the scores of the images that a shard did not give cannot exceed."""
    if found.beyond is not None:
        return found.beyond
    return -math.inf if len(found.records) < fetched else found.last_score


def _best_first(shards: Mapping[int, Hits]) -> Iterator[Candidate]:
    order = [
        (-score, shard, place)
        for shard, hits in shards.items()
        if hits.records
        for place, score in enumerate(np.frombuffer(hits.scores, dtype="<f4").tolist())
    ]
    order.sort()  # a merge, since Python's sort finds the sorted lists
    for negative, shard, place in order:
        hits = shards[shard]
        key = hits.keys[_SIZE * place : _SIZE * (place + 1)]
        region = hits.regions[REGION_BYTES * place : REGION_BYTES * (place + 1)]
        yield Candidate(-negative, shard, key, hits.records[place], region)


def _distinct(
    candidates: Iterable[Candidate], k: int, dedup: Dedup, asked: bytes
) -> Iterator[Candidate]:
    """The candidates without copies, by `dedup`, of earlier candidates and of the image `asked`."""
    seen = {asked[:8]} if dedup != "none" else set()
    looks = np.empty(k + 1, dtype=np.uint64)  # perceptual hashes of `asked` and of the hits
    count = 0
    for candidate in candidates:
        content, is_asked = candidate.key[:8], candidate.key[:16] == asked
        if dedup == "near" and (is_asked or content not in seen) and count <= k:
            look = np.uint64(int.from_bytes(candidate.key[16:24], "big"))
            is_copy = (np.bitwise_count(looks[:count] ^ look) <= NEAR_BITS).any()
            if is_copy and not is_asked:
                continue
            looks[count] = look
            count += 1
        if is_asked or content in seen:
            continue
        if dedup != "none":
            seen.add(content)
        yield candidate


def _region(candidate: Candidate) -> Region | UnsetType:
    if not any(candidate.region):
        return UNSET
    x0, y0, x1, y1 = (round(number, 6) for number in struct.unpack("<4f", candidate.region))
    return x0, y0, x1, y1


def _hit(candidate: Candidate) -> Hit:
    try:
        record = _records.decode(candidate.record)
    except UNREADABLE:
        raise BrokenShard(candidate.shard) from None
    identity = image_id(candidate.key)
    return Hit(
        identity,
        # float32 rounding may give a cosine just over 1
        min(1.0, max(-1.0, candidate.score)),
        record.told_path,
        f"/v1/images/{identity}/thumbnail",
        record.metadata,
        record.offline,
        record.facts,
        _region(candidate),
    )
