"""The images to index: the searchable members of an embedding folder, sorted by key."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.config import RegionKind
from common.errors import ConfigError
from common.files import location_hash
from common.images.facts import facts_of_file
from common.wire import Matrix
from prepare.chunks import EmbeddingFolder, Row
from prepare.journal import JournalEntry
from prepare.members import Member, has_members, read_members
from prepare.regions import WHOLE, StoredRegion, stored_regions
from search.image_key import IMAGE_KEY, Keys, shard_of
from search.messages import Record
from search.regions import REGION, RegionRows
from search.segment_writing import SegmentRows

Places = NDArray[np.int32]
"""The chunk and the row of vectors, [n, 2]."""


class Images(NamedTuple):
    """Some images, sorted by key; `places` are those of their vectors."""

    keys: Keys
    records: Sequence[Record]
    places: Places
    regions: NDArray[np.void]
    """REGION of each part of an image that has a vector, too; its row is the image's position."""
    region_places: Places

    def take(self, chosen: NDArray[np.intp]) -> "Images":
        """The images at `chosen`, which are in order, with their regions."""
        row_of = np.full(len(self.keys), -1)
        row_of[chosen] = np.arange(len(chosen))
        rows = row_of[self.regions["row"]]
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        regions = self.regions[order]
        regions["row"] = rows[order]
        records = [self.records[i] for i in chosen]
        places = self.places[chosen], regions, self.region_places[order]
        return Images(self.keys[chosen], records, *places)

    def rows(self, chunks: Mapping[int, Matrix], dim: int) -> SegmentRows:
        """The images with their vectors, from `chunks`, and those of their regions."""
        vectors = _vectors(self.places, chunks, dim)
        regions = RegionRows(_vectors(self.region_places, chunks, dim), self.regions)
        return SegmentRows(vectors, self.keys, self.records, regions)


class Collection(NamedTuple):
    """The images to index, with the chunks that they are from."""

    images: Images
    chunks: dict[int, Matrix]
    entry: JournalEntry
    digest: str
    all_chunks: set[int]
    """With those that tell alone of skipped files, or of images without regions."""

    @property
    def keys(self) -> Keys:
        """The keys of all images."""
        return self.images.keys

    @property
    def records(self) -> Sequence[Record]:
        """The records of all images."""
        return self.images.records

    @property
    def regions(self) -> NDArray[np.void]:
        """The regions of all images."""
        return self.images.regions

    def rows(self, chosen: NDArray[np.intp]) -> SegmentRows:
        """The images at `chosen`, with their vectors and those of their regions."""
        return self.images.take(chosen).rows(self.chunks, self.entry.dim)

    def members(self, shard: int, shard_count: int) -> NDArray[np.intp]:
        """The positions of a shard's images in the collection."""
        return np.flatnonzero(shard_of(self.keys["content"], shard_count) == shard)


def _vectors(places: Places, chunks: Mapping[int, Matrix], dim: int) -> Matrix:
    vectors = np.empty((len(places), dim), dtype=np.float32)
    chunk, row = places.T
    order = np.argsort(chunk, kind="stable")
    numbers, starts = np.unique(chunk[order], return_index=True)
    for number, some in zip(numbers.tolist(), np.split(order, starts)[1:], strict=True):
        vectors[some] = chunks[number][row[some]]
    return vectors


def read_collection(embeddings: EmbeddingFolder, kind: RegionKind = "none") -> Collection:
    """All searchable images of the embedding folder, with regions of a kind.

    Raises ConfigError when there are none.
    """
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
    entry = entries[chosen[0].chunk]
    stored = stored_regions(embeddings, entry.space, kind)
    contents = [chosen[i].content or rows[chosen[i].chunk][chosen[i].row].content for i in order]
    regions, region_places = _regions(contents, stored)
    told = {region.chunk for content in contents for region in stored.get(content, ())}
    used |= set(region_places[:, 0].tolist())
    entries = {entry.chunk: entry for entry in embeddings.entries() if entry.chunk in used}
    digest = _digest(
        np.concatenate([places, region_places]),
        records,
        [entries[chunk] for chunk in sorted(used)],
    )
    ordered = keys[order], [records[i] for i in order], places[order]
    return Collection(
        Images(*ordered, regions, region_places),
        embeddings.vectors_of(used),
        entry,
        digest,
        told | {member.chunk for member in members},
    )


def _regions(
    contents: Sequence[str], stored: Mapping[str, Sequence[StoredRegion]]
) -> tuple[NDArray[np.void], Places]:
    """The regions of images with some contents, as REGION, and the places of their vectors."""
    found = [
        (position, region)
        for position, content in enumerate(contents)
        for region in stored.get(content, ())
        if region.box != WHOLE
    ]
    regions = np.array([(position, region.box) for position, region in found], REGION)
    places = np.array([(region.chunk, region.row) for _, region in found], np.int32)
    return regions, places.reshape(-1, 2)


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
