"""What a manifest tells of a shard: its segments, their files, and which rows are tombstones."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from common.config import IndexKind
from common.files import sha256_of
from search.messages import Fields

TOMBSTONE_BYTES = 4
"""A tombstone is the number of a row, uint32, little-endian."""


class File(msgspec.Struct, frozen=True):
    """A file, named within its folder."""

    name: str
    size_bytes: int
    sha256: str


class SegmentFiles(msgspec.Struct, frozen=True):
    """The files of a segment and how many rows it holds. None of them ever changes."""

    name: str
    """The digest of its files; versions share a segment by this name."""
    count: int
    index: File
    records: File
    offsets: File
    hashes: File
    canaries: File
    kind: IndexKind
    columns: File
    """What filters test."""
    fields: Fields
    """The fields of its columns."""
    vectors: File | None = None
    """Only for a kind of index that keeps its vectors in a file of their own."""
    regions: File | None = None
    """Which vectors are parts of which images; None if all are whole images."""
    distinct: File | None = None
    """Which vectors are equal, of which the index has one; None if it has all vectors."""

    def by_folder(self) -> tuple[list[File], list[File], list[File]]:
        """Its files in the folders of indexes, of paths and of hashes."""
        index = [self.index, self.canaries, self.vectors, self.distinct]
        paths = [self.records, self.offsets, self.columns, self.regions]
        return _there(index), _there(paths), [self.hashes]


class ShardFiles(msgspec.Struct, frozen=True):
    """The segments of one shard: a base, then perhaps a recent one."""

    segments: list[SegmentFiles]
    tombstones: File | None = None
    """The rows that are images no longer, counted through the segments; None for none."""

    @property
    def count(self) -> int:
        """How many images the shard holds."""
        dead = self.tombstones.size_bytes // TOMBSTONE_BYTES if self.tombstones else 0
        return sum(segment.count for segment in self.segments) - dead


def _there(files: Iterable[File | None]) -> list[File]:
    return [file for file in files if file]


def describe(path: Path) -> File:
    """The manifest entry of a finished file."""
    return File(path.name, path.stat().st_size, sha256_of(path))
