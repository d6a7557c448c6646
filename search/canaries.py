"""Canaries: queries with a known answer. A shard is put in use only if it finds the answers.

The canaries of a shard are drawn from its images when the shard is built. Brute force over all
images of the shard gives the true answers. A digest proves that a file is unchanged. The canaries
prove that the libraries of this machine load the index and find near images.
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
"""An index that finds less than half of the nearest images is of no use."""
RECALL_TOLERANCE = 0.1
"""The recall of one index may differ by this much between processors, which round differently."""
ROUNDING = 2e-3
"""Tolerance of scores; float16 vectors give scores that are exact to 1e-3."""


class Canaries(msgspec.Struct, frozen=True):
    """The canaries of a shard. Arrays are bytes, little-endian, row by row."""

    count: int
    """Number of images in the shard."""
    dim: int
    ef: int
    k: int
    vectors: bytes
    """float32 [queries, dim]."""
    rows: bytes
    """int64 [queries, k]: the true nearest rows, best first."""
    scores: bytes
    """float32 [queries, k]: the cosines of `rows`."""
    least: float
    """The share of `rows` that the index must find."""


def draw(vectors: Matrix, ann: AnnIndex, ef: int) -> Canaries:
    """Draw canaries from the vectors of a shard; raises ConfigError if their recall is too low."""
    count, dim = vectors.shape
    chosen = np.random.default_rng(0).choice(count, min(QUERIES, count), replace=False)
    k = min(K, count)
    nearest = [_nearest(vectors, vectors[i], k) for i in chosen]
    rows = b"".join([best.astype("<i8").tobytes() for best, _ in nearest])
    scores = b"".join([cosines.astype("<f4").tobytes() for _, cosines in nearest])
    drawn = Canaries(count, dim, max(ef, k), k, pack_rows(vectors[chosen]), rows, scores, 0.0)
    found = _share(drawn, ann)
    if found < MIN_RECALL:
        raise ConfigError(
            f"the index finds {found:.2f} of the nearest images, under {MIN_RECALL}: raise "
            "Prepare.M, Prepare.ef-construction or Search.ef-search"
        )
    return msgspec.structs.replace(drawn, least=max(MIN_RECALL, found - RECALL_TOLERANCE))


def _nearest(vectors: Matrix, query: Matrix, k: int) -> tuple[Numbers, Matrix]:
    """The rows and cosines of the k nearest vectors, best first, by brute force."""
    scores = vectors @ query
    best = np.argpartition(-scores, k - 1)[:k]
    best = best[np.argsort(-scores[best])]
    return best, scores[best]


def read(path: Path, dim: int, count: int) -> Canaries:
    """Read the canaries of a shard with `count` images; raises BadIndex."""
    try:
        canaries = msgspec.msgpack.decode(path.read_bytes(), type=Canaries)
    except UNREADABLE as error:
        raise BadIndex(f"{path}: {error}") from None
    if (canaries.dim, canaries.count) != (dim, count):
        raise BadIndex(f"{path}: of another shard")
    return canaries


def check(canaries: Canaries, ann: AnnIndex, name: str) -> None:
    """Run the canaries of the index `name`; raises BadIndex for a low recall or wrong scores."""
    found = _share(canaries, ann)
    if found < canaries.least:
        raise BadIndex(
            f"{name}: its canary queries find {found:.2f} of the nearest images, "
            f"not {canaries.least:.2f}"
        )


def _share(canaries: Canaries, ann: AnnIndex) -> float:
    """The share of the true nearest rows that the index finds; 0 for impossible scores."""
    if not canaries.k:  # a shard without images
        return 1.0
    queries = unpack_rows(canaries.vectors, canaries.dim)
    true = np.frombuffer(canaries.rows, "<i8").reshape(-1, canaries.k)
    best = np.frombuffer(canaries.scores, "<f4").reshape(-1, canaries.k)
    rows, scores = ann.nearest(queries, canaries.k, canaries.ef, 1)
    if not np.isfinite(scores).all() or (np.diff(scores, axis=1) > ROUNDING).any():
        return 0.0
    parts = zip(rows.astype(np.int64), scores, true, best, strict=True)
    return float(np.mean([_right(*part) for part in parts]))


def _right(rows: Numbers, scores: Matrix, true: Numbers, best: Matrix) -> float:
    """The share of one query's hits that have the right score.

    A true nearest row must have its known score. Any other row must have the score of the last
    true nearest row: only an image with an equal score may take its place.
    """
    known = dict(zip(true.tolist(), best.tolist(), strict=True))
    should = [known.get(row, float(best[-1])) for row in rows.tolist()]
    return float((np.abs(scores - should) <= ROUNDING).mean())
