"""The images to index: the live images of an embedding folder, sorted by key."""

import hashlib
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.wire import Matrix
from prepare.chunks import LIVE_COLUMNS, EmbeddingFolder, JournalEntry, Row
from prepare.hashes import location_hash
from search.image_key import IMAGE_KEY, Keys, shard_of
from search.index import SegmentRows
from search.messages import Record


class Collection(NamedTuple):
    """The images to index, sorted by key; `places` is the chunk and row of each, int32 [n, 2]."""

    keys: Keys
    records: list[Record]
    places: NDArray[np.int32]
    chunks: dict[int, Matrix]
    entry: JournalEntry
    digest: str

    def rows(self, chosen: NDArray[np.intp]) -> SegmentRows:
        """The images at `chosen`, with their vectors."""
        vectors = np.empty((len(chosen), self.entry.dim), dtype=np.float32)
        chunk, row = self.places[chosen].T
        for number in np.unique(chunk):
            vectors[chunk == number] = self.chunks[number][row[chunk == number]]
        return SegmentRows(vectors, self.keys[chosen], [self.records[i] for i in chosen])

    def members(self, shard: int, shard_count: int) -> NDArray[np.intp]:
        """The positions of a shard's images in the collection."""
        return np.flatnonzero(shard_of(self.keys["content"], shard_count) == shard)


def read_collection(embeddings: EmbeddingFolder) -> Collection:
    """All live images of the embedding folder; raises ConfigError when there are none."""
    live = embeddings.live()
    if not len(live):
        raise ConfigError("there are no images to index")
    if live.shape[1] != LIVE_COLUMNS:
        raise ConfigError("the embeddings are of an older release: run prepare/save_embedding.py")
    used = set(live[:, 0].tolist())
    entries = {entry.chunk: entry for entry in embeddings.entries() if entry.chunk in used}
    if used - entries.keys():
        raise ConfigError("the embeddings are not whole: run prepare/save_embedding.py again")
    rows = {chunk: embeddings.rows(chunk) for chunk in used}
    chosen = [rows[chunk][row] for chunk, row, _ in live.tolist()]
    keys = np.array([_key(row) for row in chosen], dtype=IMAGE_KEY)
    order = np.argsort(keys, order=("content", "location"))
    digest = hashlib.sha256(live.tobytes())
    for chunk in sorted(used):
        digest.update(msgspec.json.encode(entries[chunk].sha256))
    return Collection(
        keys[order],
        [Record(chosen[i].path, chosen[i].metadata, int(live[i, 2])) for i in order],
        live[order, :2],
        {chunk: embeddings.vectors(entries[chunk]) for chunk in used},
        entries[int(live[0, 0])],
        digest.hexdigest(),
    )


def _key(row: Row) -> tuple[int, int, int]:
    return int(row.content, 16), location_hash(row.path), int(row.perceptual, 16)
