"""The images to index: the searchable members of an embedding folder, sorted by key."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.config import RegionKind
from common.errors import ConfigError
from common.files import location_hash
from common.images.facts import facts_of_file
from common.wire import Matrix
from prepare.chunks import EmbeddingFolder, Row, VectorsOf
from prepare.journal import JournalEntry
from prepare.lines import Lines, Spill
from prepare.members import Member, has_members, read_members
from prepare.regions import WHOLE, StoredRegion, stored_regions
from search.image_key import IMAGE_KEY, Keys, shard_of
from search.messages import Record
from search.regions import REGION, RegionRows
from search.segment_writing import SegmentRows

Places = NDArray[np.int32]
"""The chunk and the row of vectors, [n, 2]."""
Positions = NDArray[np.intp]


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

    def rows(self, vectors_of: VectorsOf, dim: int) -> SegmentRows:
        """The images with their vectors, and those of their regions."""
        vectors = _vectors(self.places, vectors_of, dim)
        regions = RegionRows(_vectors(self.region_places, vectors_of, dim), self.regions)
        return SegmentRows(vectors, self.keys, self.records, regions)


class Collection(NamedTuple):
    """The images to index, with the chunks that they are from."""

    images: Images
    chunks: set[int]
    vectors_of: VectorsOf
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
        return self.images.take(chosen).rows(self.vectors_of, self.entry.dim)

    def members(self, shard: int, shard_count: int) -> NDArray[np.intp]:
        """The positions of a shard's images in the collection."""
        return np.flatnonzero(shard_of(self.keys["content"], shard_count) == shard)


def _vectors(places: Places, vectors_of: VectorsOf, dim: int) -> Matrix:
    vectors = np.empty((len(places), dim), dtype=np.float32)
    chunk, row = places.T
    for number, some in _by_chunk(chunk):
        vectors[some] = vectors_of(number)[row[some]]
    return vectors


def _by_chunk(chunks: NDArray[np.int32]) -> Iterator[tuple[int, Positions]]:
    """Each chunk, with the positions at which its number is."""
    order = np.argsort(chunks, kind="stable")
    numbers, starts = np.unique(chunks[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, starts)[1:], strict=True)


def read_collection(embeddings: EmbeddingFolder, kind: RegionKind = "none") -> Collection:
    """All searchable images of the embedding folder, with regions of a kind.

    In memory are 72 bytes an image: keys, places, and where its record is in a temporary file.
    Raises ConfigError when there are no images.
    """
    if not has_members(embeddings):
        raise ConfigError("no embeddings yet: run prepare/save_embedding.py first")
    members = read_members(embeddings)
    found = _places(members)
    chosen = np.flatnonzero(found[:, 1] >= 0)
    if not len(chosen):
        raise ConfigError("there are no images to index")
    places = found[chosen]
    used = _numbers(places)
    entries = {entry.chunk: entry for entry in embeddings.entries()}
    if used - entries.keys():
        raise ConfigError("the embeddings are not whole: run prepare/save_embedding.py again")
    keys, records = _keys_and_records(embeddings, members, chosen, places)
    order = np.lexsort((keys["location"], keys["content"]))
    entry = entries[int(places[0, 0])]
    stored = stored_regions(embeddings, entry.space, kind)
    contents = [f"{content:016x}" for content in keys["content"][order]] if stored else []
    regions, region_places = _regions(contents, stored)
    told = {region.chunk for content in contents for region in stored.get(content, ())}
    used |= _numbers(region_places)
    digest = _digest(
        np.concatenate([places, region_places]),
        records,
        [entries[chunk] for chunk in sorted(used)],
    )
    return Collection(
        Images(keys[order], records.take(order), places[order], regions, region_places),
        used,
        embeddings.vectors_of(used),
        entry,
        digest,
        told | _numbers(found),
    )


def _places(members: Iterable[Member]) -> Places:
    numbers = chain.from_iterable((member.chunk, member.row) for member in members)
    return np.fromiter(numbers, np.int32).reshape(-1, 2)


def _keys_and_records(
    embeddings: EmbeddingFolder, members: Sequence[Member], chosen: Positions, places: Places
) -> tuple[Keys, Lines[Record]]:
    """The keys and the records of the members at `chosen`, of which one chunk is read at a time."""
    keys = np.empty(len(chosen), IMAGE_KEY)
    chunk, row = places.T
    by_chunk = list(_by_chunk(chunk))

    def records() -> Iterator[Record]:
        for number, some in by_chunk:
            rows = embeddings.rows(number)
            for position in some.tolist():
                member, stored = members[chosen[position]], rows[row[position]]
                keys[position] = _key(stored, member.path)
                yield record_of(member, stored)

    written = Spill(embeddings.path).add(Record, records())
    return keys, written.take(np.argsort(np.concatenate([some for _, some in by_chunk])))


def _numbers(places: Places) -> set[int]:
    """The chunks of some places."""
    return set(np.unique(places[:, 0]).tolist())


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


def _digest(places: Places, records: Iterable[Record], entries: Sequence[JournalEntry]) -> str:
    """Digest of all that is indexed."""
    digest = hashlib.sha256(places.tobytes())
    encoder = msgspec.json.Encoder()
    for item in chain(records, (entry.sha256 for entry in entries)):
        digest.update(encoder.encode(item))
    return digest.hexdigest()
