"""The images of a collection by their paths, read from members.jsonl when they are asked for."""

from collections.abc import Iterator, Sequence

import numpy as np

from common.files import location_hash
from prepare.key_table import KeyTable
from prepare.members import Member

PLACE = np.dtype([("location", "u8"), ("place", "i8")])


class MemberTable:
    """Images that may change; 16 bytes of memory for each, more for those that have changed."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Of some members those that are images, also if they wait for their embeddings."""
        self._members = members
        self._changed: dict[int, Member | None] = {}
        """By the hashes of their paths."""
        images = (
            (location_hash(member.path), place)
            for place, member in enumerate(members)
            if member.content
        )
        found = np.fromiter(images, PLACE)
        self._places = KeyTable(np.int64)
        self._places.add(found["location"], found["place"])

    def __iter__(self) -> Iterator[Member]:
        for member in self._members:
            if member.content and not self._has_changed(member):
                yield member
        yield from (member for member in self._changed.values() if member)

    def get(self, path: str) -> Member | None:
        """The image at a path."""
        return self.at(location_hash(path))

    def at(self, location: int) -> Member | None:
        """The image at the path with a hash."""
        if location in self._changed:
            return self._changed[location]
        place = self._places.find(location)
        return None if place is None else self._members[int(place)]

    def put(self, member: Member) -> None:
        """Have an image at its path."""
        self._changed[location_hash(member.path)] = member

    def remove(self, path: str) -> None:
        """Have no image at a path."""
        self._changed[location_hash(path)] = None

    def _has_changed(self, member: Member) -> bool:
        return bool(self._changed) and location_hash(member.path) in self._changed
