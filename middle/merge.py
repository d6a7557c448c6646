"""Merging what the shards found into the k best hits overall."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from middle.messages import Dedup, Hit
from search.keys import KEY, image_id
from search.messages import Hits, Record

NEAR_BITS = 6
"""Perceptual hashes of 64 bits that differ in at most so many look the same."""

_SIZE = KEY.itemsize
_records = msgspec.msgpack.Decoder(Record)


class Candidate(NamedTuple):
    """A hit before its record is read; key is the bytes of a `search.index.KEY`."""

    score: float
    shard: int
    key: bytes
    record: msgspec.Raw


def merge(
    shards: Mapping[int, Hits], k: int, dedup: Dedup = "none", min_score: float | None = None
) -> list[Hit]:
    """The k best hits of all shards, best first, ties by shard; copies of a better hit dropped."""
    hits: list[Hit] = []
    for candidate in _distinct(_best_first(shards), dedup):
        if len(hits) == k or (min_score is not None and candidate.score < min_score):
            break
        hits.append(_hit(candidate))
    return hits


def is_complete(
    shards: Mapping[int, Hits], fetched: int, hits: Sequence[Hit], k: int, min_score: float | None
) -> bool:
    """Whether no image beyond the `fetched` best of each shard could belong among `hits`.

    Dropping copies can use up what a shard gave while what it did not give is better than hits
    of other shards.
    """
    floor = hits[-1].score if len(hits) == k else (-1.0 if min_score is None else min_score)
    return all(
        len(one.records) < fetched or np.frombuffer(one.scores, "<f4")[-1] <= floor
        for one in shards.values()
    )


def _best_first(shards: Mapping[int, Hits]) -> Iterator[Candidate]:
    order = [
        (-score, shard, place)
        for shard, hits in shards.items()
        for place, score in enumerate(np.frombuffer(hits.scores, dtype="<f4").tolist())
    ]
    order.sort()  # the lists are sorted already, which makes this a merge
    for negative, shard, place in order:
        hits = shards[shard]
        key = hits.keys[_SIZE * place : _SIZE * (place + 1)]
        yield Candidate(-negative, shard, key, hits.records[place])


def _distinct(candidates: Iterable[Candidate], dedup: Dedup) -> Iterator[Candidate]:
    seen: set[bytes] = set()
    looks: list[int] = []
    for candidate in candidates:
        if dedup != "none":
            content = candidate.key[:8]
            if content in seen:
                continue
            seen.add(content)
        if dedup == "near":
            look = int.from_bytes(candidate.key[16:24], "big")
            if any((look ^ other).bit_count() <= NEAR_BITS for other in looks):
                continue
            looks.append(look)
        yield candidate


def _hit(candidate: Candidate) -> Hit:
    record = _records.decode(candidate.record)
    identity = image_id(candidate.key)
    return Hit(
        identity,
        # float32 rounding may take a vector's cosine with itself past 1
        min(1.0, max(-1.0, candidate.score)),
        record.path,
        f"/v1/images/{identity}/thumbnail",
        record.metadata,
    )
