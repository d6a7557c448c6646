"""What a search finds in a shard, before the records of the hits are looked up.

A server may hold many shards, and each is asked for nearly as many hits as all of them together.
So their scores are compared first, and only the best of all are looked up and sent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.ann_index import Numbers
from search.image_key import IMAGE_KEY
from search.messages import REGION_BYTES, Hits

SCORE_BYTES, KEY_BYTES = 4, IMAGE_KEY.itemsize
Counts = NDArray[np.intp]


class LookedUp(NamedTuple):
    """What hits have beside their scores, as in `Hits`."""

    keys: bytes
    records: list[msgspec.Raw]
    regions: bytes = b""


class Ranking(NamedTuple):
    """The nearest images of each query in a shard or in a part of it, best first."""

    scores: Matrix
    """float32 [queries, k]: the cosines; -inf where there are no more images."""
    labels: Numbers
    """[queries, k]: what `look_up` knows the images by."""
    look_up: Callable[[Numbers], LookedUp]

    @property
    def counts(self) -> Counts:
        """The images of each query."""
        counts: Counts = np.isfinite(self.scores).sum(axis=1)
        return counts

    def hits(self, counts: Counts | None = None) -> list[Hits]:
        """The hits of each query: the best `counts[i]`, or all."""
        counts = self.counts if counts is None else counts
        chosen = np.arange(self.scores.shape[1]) < counts[:, np.newaxis]
        scores = self.scores[chosen].tobytes()
        keys, records, regions = self.look_up(self.labels[chosen])
        ends = np.cumsum(counts).tolist()
        return [
            Hits(
                scores[SCORE_BYTES * begin : SCORE_BYTES * end],
                keys[KEY_BYTES * begin : KEY_BYTES * end],
                records[begin:end],
                regions[REGION_BYTES * begin : REGION_BYTES * end],
            )
            for begin, end in zip([0, *ends], ends, strict=False)
        ]


def rank(
    scores: Matrix, labels: Numbers, ks: Sequence[int], look_up: Callable[[Numbers], LookedUp]
) -> Ranking:
    """A ranking of the `ks[i]` best of each query, where `scores` may have more."""
    beyond = np.arange(scores.shape[1]) >= np.array(ks)[:, np.newaxis]
    return Ranking(np.where(beyond, np.float32(-np.inf), scores), labels, look_up)


def nothing(queries: int) -> Ranking:
    """The ranking of a shard in which nothing is found."""
    none = np.empty((queries, 0))
    return Ranking(none.astype(np.float32), none.astype(np.int64), lambda _: LookedUp(b"", []))


def rank_hits(found: Sequence[Hits]) -> Ranking:
    """A ranking of hits that are looked up already, of each query."""
    width = max((len(hits.records) for hits in found), default=0)
    scores = np.full((len(found), width), -np.inf, np.float32)
    labels = np.zeros((len(found), width), np.int64)
    end = 0
    for i, hits in enumerate(found):
        count = len(hits.records)
        scores[i, :count] = np.frombuffer(hits.scores, "<f4")
        labels[i, :count] = range(end, end + count)
        end += count
    keys = np.frombuffer(b"".join([hits.keys for hits in found]), IMAGE_KEY)
    records, regions = [record for hits in found for record in hits.records], regions_of(found)

    def look_up(labels: Numbers) -> LookedUp:
        boxes = b"" if regions is None else regions[labels].tobytes()
        return LookedUp(keys[labels].tobytes(), [records[i] for i in labels.tolist()], boxes)

    return Ranking(scores, labels, look_up)


def regions_of(found: Sequence[Hits]) -> Matrix | None:
    """The regions of all hits, float32 [hits, 4]; None if no image has any."""
    if not any(hits.regions for hits in found):
        return None
    whole = [hits.regions or bytes(REGION_BYTES * len(hits.records)) for hits in found]
    return np.frombuffer(b"".join(whole), "<f4").reshape(-1, 4)


def best_of_all(rankings: Sequence[Ranking], most: Sequence[int]) -> list[list[Hits]]:
    """The hits of each ranking; of query i those among the best `most[i]` of all rankings, or more.

    Of the hits that are left out, `Hits.beyond` tells the best score.
    """
    width, needed = sum(ranking.scores.shape[1] for ranking in rankings), max(most, default=0)
    if width <= needed:
        return [ranking.hits() for ranking in rankings]
    scores = np.concatenate([ranking.scores for ranking in rankings], axis=1)
    least = np.partition(scores, width - needed, axis=1)[:, width - needed, np.newaxis]
    return [_at_least(ranking, least) for ranking in rankings]


def _at_least(ranking: Ranking, least: Matrix) -> list[Hits]:
    """The hits of a ranking with a score of `least` or better, float32 [queries, 1]."""
    there = ranking.counts
    counts = np.minimum(there, (ranking.scores >= least).sum(axis=1))
    hits = ranking.hits(counts)
    cut = np.flatnonzero(counts < there)
    for i, score in zip(cut.tolist(), ranking.scores[cut, counts[cut]].tolist(), strict=True):
        hits[i].beyond = score
    return hits
