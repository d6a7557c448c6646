"""Canaries: queries with a known answer, which a shard must find before it is put in use.

They are drawn from the shard's own images when it is built, and their answers made by comparing
them with every image. Digests show that files are those that were written; canaries show that
what was loaded from them here, with this machine's libraries, also finds what is near.
"""

from pathlib import Path

import msgspec
import numpy as np

from common.errors import ConfigError
from common.wire import UNREADABLE, Matrix, pack_rows, unpack_rows
from search.ann_index import AnnIndex, Numbers
from search.manifest import BadIndex

QUERIES = 16
K = 10
MIN_RECALL = 0.5
"""An index that finds less than half of the nearest is of no use."""
RECALL_TOLERANCE = 0.1
"""The same index finds the same but for rounding, which another processor may do otherwise."""
ROUNDING = 2e-3
"""Of scores: float16 vectors give them to 1e-3."""


class Canaries(msgspec.Struct, frozen=True):
    """The queries of a shard; arrays as bytes, little-endian, row by row."""

    count: int
    """Of the shard's images."""
    dim: int
    ef: int
    k: int
    vectors: bytes
    """float32 [queries, dim]."""
    rows: bytes
    """int64 [queries, k]: the true nearest of all, best first."""
    scores: bytes
    """float32 [queries, k]: their cosines."""
    least: float
    """The share of them that must be found."""


def draw(vectors: Matrix, engine: AnnIndex, ef: int) -> Canaries:
    """Canaries for the vectors of a shard; raises ConfigError where the index finds too few."""
    count, dim = vectors.shape
    chosen = np.random.default_rng(0).choice(count, min(QUERIES, count), replace=False)
    k = min(K, count)
    nearest = [_nearest(vectors, vectors[i], k) for i in chosen]
    rows = b"".join([one.astype("<i8").tobytes() for one, _ in nearest])
    scores = b"".join([one.astype("<f4").tobytes() for _, one in nearest])
    drawn = Canaries(count, dim, max(ef, k), k, pack_rows(vectors[chosen]), rows, scores, 0.0)
    found = _share(drawn, engine)
    if found < MIN_RECALL:
        raise ConfigError(
            f"the index finds {found:.2f} of the nearest images, under {MIN_RECALL}: raise "
            "Prepare.M, Prepare.ef-construction or Search.ef-search"
        )
    return msgspec.structs.replace(drawn, least=max(MIN_RECALL, found - RECALL_TOLERANCE))


def _nearest(vectors: Matrix, query: Matrix, k: int) -> tuple[Numbers, Matrix]:
    """The rows and scores of the k nearest, best first, by comparing with every vector."""
    scores = vectors @ query
    best = np.argpartition(-scores, k - 1)[:k]
    best = best[np.argsort(-scores[best])]
    return best, scores[best]


def read(path: Path, dim: int, count: int) -> Canaries:
    """The canaries in a file, of a shard of so many images; raises BadIndex."""
    try:
        canaries = msgspec.msgpack.decode(path.read_bytes(), type=Canaries)
    except UNREADABLE as error:
        raise BadIndex(f"{path}: {error}") from None
    if (canaries.dim, canaries.count) != (dim, count):
        raise BadIndex(f"{path}: of another shard")
    return canaries


def check(canaries: Canaries, engine: AnnIndex, name: str) -> None:
    """Ask them; raises BadIndex naming the shard when too little is found, or scored wrong."""
    found = _share(canaries, engine)
    if found < canaries.least:
        raise BadIndex(
            f"{name}: its canary queries find {found:.2f} of the nearest images, "
            f"not {canaries.least:.2f}"
        )


def _share(canaries: Canaries, engine: AnnIndex) -> float:
    """The share of the nearest that the engine finds; 0 for scores that cannot be."""
    if not canaries.k:  # a shard without images
        return 1.0
    queries = unpack_rows(canaries.vectors, canaries.dim)
    true = np.frombuffer(canaries.rows, "<i8").reshape(-1, canaries.k)
    best = np.frombuffer(canaries.scores, "<f4").reshape(-1, canaries.k)
    rows, scores = engine.nearest(queries, canaries.k, canaries.ef, 1)
    if not np.isfinite(scores).all() or (np.diff(scores, axis=1) > ROUNDING).any():
        return 0.0
    parts = zip(rows.astype(np.int64), scores, true, best, strict=True)
    return float(np.mean([_right(*part) for part in parts]))


def _right(rows: Numbers, scores: Matrix, true: Numbers, best: Matrix) -> float:
    """The share of one query's hits that are right.

    Each has the score that it should have: a row that is none of the nearest, that of the last of
    them, whose equal it is.
    """
    known = dict(zip(true.tolist(), best.tolist(), strict=True))
    should = [known.get(row, float(best[-1])) for row in rows.tolist()]
    return float((np.abs(scores - should) <= ROUNDING).mean())
