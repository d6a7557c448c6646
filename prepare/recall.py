"""The recall of an index: the share of the true nearest images that it finds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.image_key import KEY_BYTES, Keys
from search.messages import Hits
from search.segment_writing import SegmentRows
from search.shard import Shard

ROUNDING = 1e-5
"""float32 scores differ by about this much when their terms are added in another order."""


class Share(NamedTuple):
    """What a shard adds to the recall: float32 [queries, k] each, in no order.

    Filled up with -inf, if the shard has fewer images.
    """

    true: Matrix
    """The exact scores of its nearest images."""
    found: Matrix
    """The exact scores of what it finds."""


def share_of(queries: Matrix, shard: Shard, rows: SegmentRows, k: int, ef_search: int) -> Share:
    """The share of a shard; `rows` are its images with their exact vectors.

    Scores from the index are not used, as its vectors may be rounded.
    """
    exact = _scores(queries, rows)
    hits = shard.rank(queries, [k] * len(queries), ef_search, 0).hits()
    found = [
        query_scores[_rows(rows.keys, query_hits)]
        for query_hits, query_scores in zip(hits, exact, strict=True)
    ]
    return Share(_padded(_best(exact, k), k), _padded(found, k))


def recall(shares: Sequence[Share], k: int) -> float:
    """The share of the true k nearest of each query that all shards together find.

    `k` is at most the number of images. A found image counts when its exact score reaches the true
    k-th best score: of two equal images, either will do.
    """
    best = _best(np.concatenate([share.true for share in shares], axis=1), k)
    got = _best(np.concatenate([share.found for share in shares], axis=1), k)
    return float((got >= best.min(axis=1, keepdims=True) - ROUNDING).mean())


def _scores(queries: Matrix, rows: SegmentRows) -> Matrix:
    """The exact score of each image for each query, [queries, rows]: that of its best part."""
    scores: Matrix = queries @ rows.vectors.T
    if len(rows.regions.places):
        parts = queries @ rows.regions.vectors.T
        np.maximum.at(scores.T, rows.regions.places["row"], parts.T)
    return scores


def _rows(keys: Keys, hits: Hits) -> NDArray[np.intp]:
    """The rows of hits among sorted keys."""
    known, found = keys.view(KEY_BYTES), np.frombuffer(hits.keys, KEY_BYTES)
    rows = np.searchsorted(known, found)
    return rows[np.isin(found, known)]


def _best(scores: Matrix, k: int) -> Matrix:
    """The k highest of each row, in no order."""
    return scores if scores.shape[1] <= k else np.partition(scores, -k, axis=1)[:, -k:]


def _padded(scores: Sequence[Matrix] | Matrix, k: int) -> Matrix:
    """The scores of each query as one row of [queries, k], filled up with -inf."""
    rows = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for row, query_scores in zip(rows, scores, strict=True):
        row[: len(query_scores)] = query_scores
    return rows
