"""The recall of an index: the share of the true nearest images that it finds."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from common.wire import Matrix
from search.image_key import KEY_BYTES, Keys
from search.messages import Hits
from search.segment_writing import SegmentRows
from search.shard import Shard

ROUNDING = 1e-5
"""float32 scores differ by about this much when their terms are added in another order."""


def recall(
    queries: Matrix, shards: Iterable[tuple[Shard, SegmentRows]], k: int, ef_search: int
) -> float:
    """The share of the true k nearest of each query that all shards together find.

    `shards` gives each shard with its images and their exact vectors. A found image counts when
    its exact score reaches the true k-th best score: of two equal images, either will do. Scores
    from the index are not used, as its vectors may be rounded.
    """
    true: list[Matrix] = []
    found: list[Matrix] = []
    for shard, rows in shards:
        exact = _scores(queries, rows)
        true.append(_best(exact, k))
        hits = shard.search(queries, [k] * len(queries), ef_search, 0)
        scores = [
            query_scores[_rows(rows.keys, query_hits)]
            for query_hits, query_scores in zip(hits, exact, strict=True)
        ]
        found.append(_padded(scores, k))
    best = np.sort(np.concatenate(true, axis=1), axis=1)[:, -k:]
    got = np.sort(np.concatenate(found, axis=1), axis=1)[:, -best.shape[1] :]
    return float((got >= best[:, :1] - ROUNDING).mean())


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


def _padded(scores: Sequence[Matrix], k: int) -> Matrix:
    """The scores of each query as one row of [queries, k], filled up with -inf."""
    rows = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for row, query_scores in zip(rows, scores, strict=True):
        row[: len(query_scores)] = query_scores
    return rows
