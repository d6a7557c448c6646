"""The images to index: the searchable members of an embedding folder, sorted by key."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.images.facts import facts_of_file
from common.wire import Matrix
from prepare.chunks import EmbeddingFolder, JournalEntry, Row
from prepare.members import Member, has_members, read_members
from search.image_key import IMAGE_KEY, Keys, location_hash, shard_of
from search.messages import Record
from search.segment_writing import SegmentRows


class Collection(NamedTuple):
    """The images to index, sorted by key; `places` is the chunk and row of each, int32 [n, 2]."""

    keys: Keys
    records: list[Record]
    places: NDArray[np.int32]
    chunks: dict[int, Matrix]
    entry: JournalEntry
    digest: str
    all_chunks: set[int]
    """With those that tell of skipped files alone."""

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
    """All searchable images of the embedding folder; raises ConfigError when there are none."""
    if not has_members(embeddings):
        raise ConfigError("no embeddings yet: run prepare/save_embedding.py first")
    members = read_members(embeddings)
    chosen = [member for member in members if member.is_searchable]
    if not chosen:
        raise ConfigError("there are no images to index")
    used = {member.chunk for member in chosen}
    entries = {entry.chunk: entry for entry in embeddings.entries() if entry.chunk in used}
    if used - entries.keys():
        raise ConfigError("the embeddings are not whole: run prepare/save_embedding.py again")
    rows = {chunk: embeddings.rows(chunk) for chunk in used}
    keys = np.array([_key(rows[m.chunk][m.row], m.path) for m in chosen], dtype=IMAGE_KEY)
    order = np.argsort(keys, order=("content", "location"))
    records = [record_of(member, rows[member.chunk][member.row]) for member in chosen]
    places = np.array([(member.chunk, member.row) for member in chosen], dtype=np.int32)
    return Collection(
        keys[order],
        [records[i] for i in order],
        places[order],
        {chunk: embeddings.vectors(entries[chunk]) for chunk in used},
        entries[chosen[0].chunk],
        _digest(places, records, [entries[chunk] for chunk in sorted(used)]),
        {member.chunk for member in members},
    )


def record_of(member: Member, row: Row) -> Record:
    """What the index tells of an image."""
    facts = _facts(row, member)
    return Record(member.path, member.metadata, member.told_from, member.offline, facts)


def _facts(row: Row, member: Member) -> dict[str, str | int]:
    """What is known of a file: `size` and `modified`, and what its EXIF tells."""
    return facts_of_file(member.size_bytes, member.mtime_ns) | row.facts


def _key(row: Row, path: str) -> tuple[int, int, int]:
    return int(row.content, 16), location_hash(path), int(row.perceptual, 16)


def _digest(
    places: NDArray[np.int32], records: Sequence[Record], entries: Sequence[JournalEntry]
) -> str:
    """Digest of all that is indexed."""
    digest = hashlib.sha256(places.tobytes())
    encoder = msgspec.json.Encoder()
    for item in (*records, *(entry.sha256 for entry in entries)):
        digest.update(encoder.encode(item))
    return digest.hexdigest()
