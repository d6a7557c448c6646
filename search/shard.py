"""A shard as it is searched: its segments and its delta as one."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace

from common.wire import Matrix, encode
from search.ann_index import Numbers
from search.browse_messages import (
    MAX_COUNTED,
    Counts,
    Listed,
    Place,
    merge_counts,
    merge_listed,
    too_many_values,
)
from search.delta import Delta
from search.filter import Filter
from search.image_key import IMAGE_KEY, Keys, hashes_of
from search.messages import Hits, Metadata, Record
from search.ranking import Ranking, nothing, rank_hits, regions_of

ATTEMPTS = 2
"""An image that is being replaced may take two places among the k best, so that one is missing."""


class Part(Protocol):
    """A part of a shard; it may be searched from any thread."""

    @property
    def rows(self) -> int:
        """All images, also those that are hidden."""

    @property
    def count(self) -> int:
        """The images that are not hidden."""

    def rank(
        self,
        vectors: Matrix,
        ks: Sequence[int],
        ef: int,
        threads: int,
        passing: Filter | None = None,
    ) -> Ranking:
        """The `ks[i]` nearest images of each unit vector i, fewer when fewer pass the filter."""

    def browse(self, passing: Filter | None, after: Place | None, limit: int) -> list[Listed]:
        """The first images that pass and come after a place."""

    def counts(self, passing: Filter | None, fields: Sequence[str]) -> Counts:
        """The values of some fields among the images that pass; raises BadRequest."""

    def hide(self, rows: Numbers) -> None:
        """Make tombstones of some rows: they are found no more."""

    def find(self, content: int, location: int) -> int | None:
        """The row of the image with the two hashes of an id, None if it is not here."""

    def find_number(self, number: int) -> int | None:
        """A row of an image with the number of an id, None if there is none."""

    def key(self, row: int) -> bytes:
        """The IMAGE_KEY of a row."""

    def record(self, row: int) -> Record:
        """The record of a row."""

    def vector(self, row: int) -> Matrix:
        """The vector of a row, float32 [dim]."""


class Found(NamedTuple):
    """An image of a shard: a row of one of its parts."""

    part: Part
    row: int


class Shard:
    """The parts of a shard: one thread changes it, and any thread may search it.

    Of an image that is in several parts, the row in the newest counts. An image is replaced by a
    new row in the delta, then its old row is hidden. A search asks the oldest part first, so beside
    a change it finds the old row, the new one or both, and never none.
    """

    def __init__(self, segments: Sequence[Part]) -> None:
        """`segments` are the oldest first."""
        self.delta = Delta()
        self.parts = (*segments, self.delta)

    @property
    def count(self) -> int:
        """The images that are not hidden."""
        return sum(part.count for part in self.parts)

    @property
    def tombstones(self) -> int:
        """The images that are hidden."""
        return sum(part.rows - part.count for part in self.parts)

    def put(self, key: bytes, vector: Matrix, record: bytes) -> None:
        """Add an image by its IMAGE_KEY, or replace it; `record` is a Record as msgpack."""
        self.delta.put(key, vector, record)
        self._hide(key, self.parts[:-1])

    def delete(self, image: bytes) -> None:
        """Remove the image of an id, 16 bytes, if it is here."""
        self._hide(image, self.parts)

    def patch(self, image: bytes, metadata: Metadata) -> None:
        """Change the metadata of the image of an id, if it is here; None removes a field."""
        found = self.find(*hashes_of(image))
        if found is not None:
            record = found.part.record(found.row)
            changed = {**record.metadata, **metadata}
            kept = {name: value for name, value in changed.items() if value is not None}
            key, vector = found.part.key(found.row), found.part.vector(found.row)
            self.put(key, vector, encode(replace(record, metadata=kept)))

    def _hide(self, key: bytes, parts: Sequence[Part]) -> None:
        for part in parts:
            row = part.find(*hashes_of(key))
            if row is not None:
                part.hide(np.array([row]))

    def rank(
        self,
        vectors: Matrix,
        ks: Sequence[int],
        ef: int,
        threads: int,
        passing: Filter | None = None,
    ) -> Ranking:
        """The `ks[i]` nearest images of each unit vector i, fewer when fewer pass the filter."""
        for _ in range(ATTEMPTS):
            found = [
                part.rank(vectors, ks, ef, threads, passing) for part in self.parts if part.count
            ]
            if len(found) < 2:
                return found[0] if found else nothing(len(ks))
            parts = zip(*(ranking.hits() for ranking in found), strict=True)
            merged = [_merge(hits, k) for hits, k in zip(parts, ks, strict=True)]
            if not any(was_twice for _, was_twice in merged):
                break
        return rank_hits([hits for hits, _ in merged])

    def browse(self, passing: Filter | None, after: Place | None, limit: int) -> list[Listed]:
        """The first images that pass and come after a place."""
        for _ in range(ATTEMPTS):
            parts = [part.browse(passing, after, limit) for part in self.parts if part.count]
            ids = [image.place.id for listed in parts for image in listed]
            if len(set(ids)) == len(ids):
                break
        return merge_listed(_each_once(parts), limit)

    def counts(self, passing: Filter | None, fields: Sequence[str]) -> Counts:
        """The values of some fields among the images that pass; raises BadRequest.

        An image that is being replaced may be counted twice.
        """
        merged = merge_counts([part.counts(passing, fields) for part in self.parts])
        for field, found in zip(fields, merged.fields, strict=True):
            if len(found) > MAX_COUNTED:
                raise too_many_values(field)
        return merged

    def find(self, content: int, location: int) -> Found | None:
        """The image with the two hashes of an id, None if it is not here."""
        return self._newest(lambda part: part.find(content, location))

    def find_number(self, number: int) -> Found | None:
        """An image with the number of an id, None if there is none."""
        return self._newest(lambda part: part.find_number(number))

    def _newest(self, find: Callable[[Part], int | None]) -> Found | None:
        rows = [(part, find(part)) for part in self.parts]
        found = [Found(part, row) for part, row in rows if row is not None]
        return found[-1] if found else None


def _each_once(parts: Sequence[Sequence[Listed]]) -> Iterator[list[Listed]]:
    """The lists of parts, the oldest first; of each image its place in the newest part."""
    seen = set[bytes]()
    for listed in reversed(parts):
        yield [image for image in listed if image.place.id not in seen]
        seen.update(image.place.id for image in listed)


def _merge(parts: Sequence[Hits], k: int) -> tuple[Hits, bool]:
    """One query's k best hits in all parts, and whether an image was in two of them."""
    held = [hits for hits in parts if hits.records]
    if len(held) < 2:
        return held[0] if held else Hits(b"", b"", []), False
    scores = np.frombuffer(b"".join([hits.scores for hits in held]), "<f4")
    keys = np.frombuffer(b"".join([hits.keys for hits in held]), IMAGE_KEY)
    records = [record for hits in held for record in hits.records]
    # Of each image the last place, which is in the newest part.
    places = np.array(list({image: place for place, image in enumerate(_ids(keys))}.values()))
    best = places[np.argsort(-scores[places], kind="stable")[:k]]
    regions = regions_of(held)
    hits = Hits(
        scores[best].tobytes(),
        keys[best].tobytes(),
        [records[i] for i in best.tolist()],
        b"" if regions is None else regions[best].tobytes(),
    )
    return hits, len(places) < len(records)


def _ids(keys: Keys) -> list[tuple[int, int]]:
    ids: list[tuple[int, int]] = keys[["content", "location"]].tolist()
    return ids
