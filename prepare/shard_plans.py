"""What the shards of a new version take over from the version in use, and what is built.

A shard is a base and at most one recent segment. Rows of the base that are images no longer are
tombstones; images that are not in the base are built as the recent segment. When a recent segment
or the tombstones have grown, the shard is compacted: all of it is built as a new base.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from prepare.collection import Collection
from search import exact
from search.fields import fields_of_index
from search.image_key import KEY_BYTES
from search.manifest import SEGMENTS, BadIndex, Folders, Manifest, files_of_segment, verify_files
from search.messages import Fields
from search.regions import REGION, boxes_by_row
from search.segment_files import SegmentFiles

MAX_RECENT = 0.2
"""Of the rows of a base. Each query searches the recent segment, too, and each new version builds
and loads it again."""
MAX_TOMBSTONES = 0.3
"""Of the rows of a segment. With 30 % tombstones, hnswlib takes 1.3 times as long for a query, with
50 % twice as long."""
COMPACTED = 8
"""One version compacts one of so many shards, or one: servers load them whole."""

Positions = NDArray[np.intp]

log = logging.getLogger(__name__)


class ShardPlan(NamedTuple):
    """The segments that a shard takes over, their tombstones, and the images to build, if any."""

    kept: list[SegmentFiles]
    tombstones: NDArray[np.uint32]
    """Rows, counted through `kept`."""
    built: Positions | None
    """Positions in the collection; None for no new segment."""


class HeldSegment(NamedTuple):
    """A segment beside the collection; `places` is the position of each row, -1 for no image."""

    files: SegmentFiles
    places: Positions

    @property
    def alive(self) -> Positions:
        """The positions of the rows that are images still."""
        return self.places[self.places >= 0]

    @property
    def tombstones(self) -> int:
        """How many rows are images no longer."""
        return self.files.count - len(self.alive)


class HeldShard(NamedTuple):
    """A shard's images as positions in the collection, and the segments that it may keep."""

    members: Positions
    held: list[HeldSegment]

    @property
    def is_same(self) -> bool:
        """Whether the segments hold these images and no others."""
        alive = sum(len(segment.alive) for segment in self.held)
        rows = sum(segment.files.count for segment in self.held)
        return bool(self.held) and alive == rows == len(self.members)

    @property
    def recent_stays(self) -> bool:
        """Whether there is nothing to build: no new image, and few tombstones but of the base."""
        alive = sum(len(segment.alive) for segment in self.held)
        few = all(
            segment.tombstones <= MAX_TOMBSTONES * segment.files.count for segment in self.held[1:]
        )
        return few and alive == len(self.members)

    @property
    def due(self) -> float:
        """How much the shard is in need of a new base: at 1 it is due."""
        if not self.held:
            return math.inf
        base = self.held[0]
        recent, rows = len(self.members) - len(base.alive), max(1, base.files.count)
        if recent > base.files.count:  # it costs more to build and load this recent segment twice
            return math.inf
        return max(recent / rows / MAX_RECENT, base.tombstones / rows / MAX_TOMBSTONES)


def plan_shards(
    folders: Folders, before: Manifest | None, collection: Collection, shard_count: int
) -> list[ShardPlan]:
    """Plan each shard; `before` is the version in use if its segments fit, else None."""
    shards = []
    boxes = boxes_by_row(collection.regions)
    for number in range(shard_count):
        members = collection.members(number, shard_count)
        segments = before.shards[number].segments if before else []
        shards.append(HeldShard(members, _held(folders, segments, collection, members, boxes)))
    if len(collection.keys) + len(collection.regions) <= exact.MAX_COUNT:
        compacted = {number for number, shard in enumerate(shards) if not shard.is_same}
    else:
        compacted = _compacted([shard.due for shard in shards])
    return [_plan(shard, anew=number in compacted) for number, shard in enumerate(shards)]


def fields_of_plans(collection: Collection, plans: Sequence[ShardPlan]) -> Fields:
    """The fields of an index: those of the segments that stay and of the images to build."""
    kept: Fields = {}
    for segment in (segment for plan in plans for segment in plan.kept):
        for name, kinds in segment.fields.items():
            kept[name] = sorted({*kept.get(name, []), *kinds})
    built = (position for plan in plans if plan.built is not None for position in plan.built)
    return fields_of_index((collection.records[position] for position in built), kept)


def _compacted(due: Sequence[float]) -> set[int]:
    """The shards to build whole: those most in need of it, and those where nothing else pays."""
    order = sorted(range(len(due)), key=lambda number: -due[number])
    most = order[: max(1, len(due) // COMPACTED)]
    return {number for number in order if due[number] >= (1 if number in most else math.inf)}


def _plan(shard: HeldShard, *, anew: bool) -> ShardPlan:
    if anew:
        return ShardPlan([], np.empty(0, np.uint32), shard.members)
    kept = shard.held if shard.recent_stays else shard.held[:1]
    left = np.setdiff1d(shard.members, np.concatenate([segment.alive for segment in kept]))
    tombstones = np.flatnonzero(np.concatenate([segment.places for segment in kept]) < 0)
    built = left if len(left) else None
    return ShardPlan([segment.files for segment in kept], tombstones.astype(np.uint32), built)


def _held(
    folders: Folders,
    segments: Sequence[SegmentFiles],
    collection: Collection,
    members: Positions,
    boxes: Mapping[int, bytes],
) -> list[HeldSegment]:
    """The segments of a shard beside its images; none if a file is not as it was written."""
    keys = collection.keys[members].view(KEY_BYTES)
    positions = members.tolist() if segments else []
    records = [msgspec.msgpack.encode(collection.records[i]) + boxes.get(i, b"") for i in positions]
    try:
        return [
            HeldSegment(files, _places(folders, files, members, keys, records))
            for files in segments
        ]
    except BadIndex as error:
        log.warning("built anew: %s", error)
        return []


def _places(
    folders: Folders,
    files: SegmentFiles,
    members: Positions,
    keys: NDArray[np.bytes_],
    records: Sequence[bytes],
) -> Positions:
    """The position of each row of a segment in the collection, -1 for no image; raises BadIndex.

    A row is an image still if one of the `members` has the same key, record and regions.
    """
    verify_files(files_of_segment(folders, files))
    _, paths, hashes = (folder / SEGMENTS for folder in folders.all())
    rows = np.fromfile(hashes / files.hashes.name, KEY_BYTES)
    offsets = np.fromfile(paths / files.offsets.name, "<i8").tolist()
    data = (paths / files.records.name).read_bytes()
    boxes = boxes_by_row(np.fromfile(paths / files.regions.name, REGION)) if files.regions else {}
    places = np.full(len(rows), -1)
    if not len(keys):
        return places
    near = np.minimum(np.searchsorted(keys, rows), len(keys) - 1)
    for row in np.flatnonzero(keys[near] == rows).tolist():
        record = data[offsets[row] : offsets[row + 1]] + boxes.get(row, b"")
        if record == records[near[row]]:
            places[row] = members[near[row]]
    return places
