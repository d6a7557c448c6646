"""The same vectors and filters in Qdrant's embedded engine (pip install qdrant-edge-py)."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from common.wire import Matrix

BATCH = 2_000
"""The points of an insertion."""


class QdrantShard:
    """A shard of Qdrant Edge, on one thread, with an index of each field made before the graph."""

    def __init__(
        self, folder: Path, vectors: Matrix, ranks: dict[str, list[int]], m: int, ef_construct: int
    ) -> None:
        """Load it, built first if it is not there; raises ModuleNotFoundError without qdrant."""
        self._qdrant: Any = import_module("qdrant_edge")
        if not folder.exists():
            building = folder.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)  # what an interrupted run left
            building.mkdir(parents=True)
            self._build(building, vectors, ranks, m, ef_construct)
            building.rename(folder)
        self._shard = self._qdrant.EdgeShard.load(str(folder))

    def _build(
        self, folder: Path, vectors: Matrix, ranks: dict[str, list[int]], m: int, ef_construct: int
    ) -> None:
        qdrant, update = self._qdrant, self._qdrant.UpdateOperation
        # In KB: one segment for all vectors, with a graph from the first on.
        optimizers = qdrant.EdgeOptimizersConfig(
            default_segment_number=1, max_segment_size=vectors.nbytes, indexing_threshold=1
        )
        config = qdrant.EdgeConfig(
            qdrant.EdgeVectorParams(size=vectors.shape[1], distance=qdrant.Distance.Dot),
            hnsw_config=qdrant.HnswIndexConfig(m, ef_construct, full_scan_threshold=10_000),
            optimizers=optimizers,
            max_search_threads=1,
        )
        shard = qdrant.EdgeShard.create(str(folder), config)
        for name in ranks:
            schema = qdrant.PayloadSchemaType.Integer
            shard.update(update.create_field_index(name, schema))
        for start in range(0, len(vectors), BATCH):
            rows = range(start, min(start + BATCH, len(vectors)))
            points = [
                qdrant.Point(row, vectors[row].tolist(), {key: ranks[key][row] for key in ranks})
                for row in rows
            ]
            shard.update(update.upsert_points(points))
        while shard.optimize():
            pass
        shard.close()

    def search(self, queries: Matrix, k: int, ef: int, below: tuple[str, int] | None) -> list[Any]:
        """The k best points of each query, of those whose field is below a number."""
        qdrant, test = self._qdrant, None
        if below:
            field, limit = below
            test = qdrant.Filter([qdrant.FieldCondition(field, range=qdrant.RangeFloat(lt=limit))])
        params = qdrant.SearchParams(hnsw_ef=ef)
        asked = [
            qdrant.QueryRequest(k, query=qdrant.Query.Nearest(query), filter=test, params=params)
            for query in queries.tolist()
        ]
        found: list[Any] = self._shard.query_batch(qdrant.QueryBatchRequest(asked))
        return found

    @staticmethod
    def rows(hits: Any) -> set[int]:
        """The rows of a query's hits."""
        return {point.id for point in hits}
