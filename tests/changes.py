"""Entries of the log of the live index, and what they make of images, by plain Python."""

import struct
from typing import Any, NamedTuple

from common.wire import Matrix, encode, pack_rows
from search.log import Entry
from search.messages import Metadata, Record

SPACE = "space"


def key(number: int) -> bytes:
    """The IMAGE_KEY of an image of a test; the contents lie in several shards by either rule."""
    content = (29 * number % 64 << 58) + number
    return struct.pack(">3Q", content, number, 0)


def put(number: int, vector: Matrix, space: str = SPACE, **metadata: Any) -> Entry:
    """Put the image of a number, whose path is that number, with a vector and metadata."""
    record = encode(Record(f"{number}.jpg", metadata))
    return Entry("put", key(number), space, pack_rows(vector), record)


def patch(number: int, **metadata: Any) -> Entry:
    """Change metadata of the image of a number."""
    return Entry("patch", key(number)[:16], record=encode(metadata))


def delete(number: int) -> Entry:
    """Delete the image of a number."""
    return Entry("delete", key(number)[:16])


class Image(NamedTuple):
    """What a search must find."""

    vector: Matrix
    metadata: Metadata


class Images(dict[int, Image]):
    """All images by their numbers, as the entries make them."""

    def put(self, number: int, vector: Matrix, **metadata: Any) -> Entry:
        """Put an image here; returns the entry that does it elsewhere."""
        self[number] = Image(vector, metadata)
        return put(number, vector, **metadata)

    def patch(self, number: int, **metadata: Any) -> Entry:
        """Change metadata of an image here; returns the entry."""
        if number in self:
            changed = {**self[number].metadata, **metadata}
            kept = {name: value for name, value in changed.items() if value is not None}
            self[number] = self[number]._replace(metadata=kept)
        return patch(number, **metadata)

    def delete(self, number: int) -> Entry:
        """Delete an image here; returns the entry."""
        self.pop(number, None)
        return delete(number)

    def nearest(self, query: Matrix, k: int, **fields: Any) -> list[tuple[str, float]]:
        """The paths and scores of the k nearest with some metadata, best first."""
        found = [
            (f"{number}.jpg", float(image.vector @ query))
            for number, image in self.items()
            if all(image.metadata.get(name) == value for name, value in fields.items())
        ]
        return sorted(found, key=lambda hit: -hit[1])[:k]
