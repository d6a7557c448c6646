"""Searching an index version without a server, and by brute force."""

import numpy as np

from common.wire import Matrix
from search.image_key import IMAGE_KEY, image_id
from search.shard import Part
from search.version import Version


def parts(version: Version) -> list[Part]:
    """The parts of all shards of a version."""
    return [part for shard in version.shards.values() for part in shard.parts]


def brute_force(version: Version, queries: Matrix, k: int) -> Matrix:
    """The k best scores of each query, best first, over every vector of a version."""
    vectors = [part.vector(row) for part in parts(version) for row in range(part.count)]
    scores: Matrix = -np.sort(-(queries @ np.stack(vectors).T), axis=1)
    return scores[:, :k]


def search(version: Version, queries: Matrix, k: int, ef: int) -> list[list[tuple[float, str]]]:
    """The k best hits of each query over all shards, best first: score and id."""
    merged: list[list[tuple[float, str]]] = [[] for _ in queries]
    for shard in version.shards.values():
        for one, hits in zip(
            merged, shard.rank(queries, [k] * len(queries), ef, 0).hits(), strict=True
        ):
            keys = [
                hits.keys[i : i + IMAGE_KEY.itemsize]
                for i in range(0, len(hits.keys), IMAGE_KEY.itemsize)
            ]
            scores = np.frombuffer(hits.scores, "<f4").tolist()
            one.extend(zip(scores, map(image_id, keys), strict=True))
    return [sorted(one, reverse=True)[:k] for one in merged]


def unit_queries(count: int, dim: int, seed: int = 0) -> Matrix:
    """Random unit vectors."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    queries: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return queries
