"""Which absent images stay in a collection as offline: absent is not deleted."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from prepare.key_table import PathSet
from prepare.members import Member
from prepare.scan import MANY, Obstacle, RootScan

FindObstacle = Callable[[str], Obstacle | None]


class Kept(NamedTuple):
    """The absent images that stay, and how many stay for which reason."""

    members: list[Member]
    reasons: Mapping[str, int]


def keep_absent(
    before: Iterable[Member],
    now: Iterable[Member],
    scans: Sequence[RootScan],
    max_loss: float,
    find_obstacle: FindObstacle,
) -> Kept:
    """The searchable images of `before` that are absent `now` and that nobody has removed.

    Both are gone through several times; in memory are the absent images, and 16 bytes of others.
    An image that has moved is not absent. An image leaves if its root is no longer in the
    collection, or if its root lost so few images that they were deleted, as far as one can know.
    """
    absent = _absent(before, now, {scan.root for scan in scans})
    if not absent:
        return Kept([], {})
    obstacles = _obstacles(absent, scans, find_obstacle)
    reasons = _reasons_of_roots(before, now, scans, max_loss, absent, obstacles)
    kept, counts = [], Counter[str]()
    for member in absent:
        of_roots = [reasons[root] for root in member.roots if root in reasons]
        if not member.roots:
            of_roots = ["no root names them"]
        if member.path in obstacles:
            of_roots.append(obstacles[member.path])
        if of_roots:
            counts[of_roots[0]] += 1
            kept.append(replace(member, offline=True))
    return Kept(kept, counts)


def _absent(before: Iterable[Member], now: Iterable[Member], roots: set[str]) -> list[Member]:
    """The searchable images of the roots that are gone from their path and not at a new one."""
    found = PathSet(member.path for member in now if member.is_searchable)
    gone = [
        member
        for member in before
        if member.is_searchable
        and member.path not in found
        and not (member.roots and roots.isdisjoint(member.roots))  # its root was removed
    ]
    if not gone:
        return []
    paths = PathSet(member.path for member in before if member.is_searchable)
    contents = {member.content for member in gone}
    arrived = Counter(
        member.content
        for member in now
        if member.is_searchable and member.content in contents and member.path not in paths
    )
    absent = []
    for member in gone:
        if arrived[member.content]:
            arrived[member.content] -= 1
        else:
            absent.append(member)
    return absent


def _obstacles(
    absent: Sequence[Member], scans: Sequence[RootScan], find_obstacle: FindObstacle
) -> dict[str, str]:
    """What may hide images, by path; not asked for roots of which nothing can be read."""
    closed = {scan.root for scan in scans if scan.problem}
    found = {
        member.path: obstacle
        for member in absent
        if closed.isdisjoint(member.roots) and (obstacle := find_obstacle(member.path))
    }
    counts = Counter(found.values())
    return {
        path: obstacle.reason
        for path, obstacle in found.items()
        if counts[obstacle] >= obstacle.least
    }


def _reasons_of_roots(
    before: Iterable[Member],
    now: Iterable[Member],
    scans: Iterable[RootScan],
    max_loss: float,
    absent: Sequence[Member],
    obstacles: Mapping[str, str],
) -> dict[str, str]:
    """Why all absent images of a root stay, by root; a root that may lose them is not in it."""
    held = Counter(root for member in before if member.is_searchable for root in member.roots)
    left = Counter(root for member in now if member.is_searchable for root in member.roots)
    reasons = {scan.root: scan.problem for scan in scans if scan.problem}
    for scan in scans:
        if not left[scan.root]:
            reasons.setdefault(scan.root, f"{scan.root} has no images")
    gone = {member.content for member in absent}
    there = (member.content for member in now if member.is_searchable)
    contents = {content for content in there if content in gone}
    lost: Counter[str] = Counter()
    for member in absent:
        is_explained = member.path in obstacles or not reasons.keys().isdisjoint(member.roots)
        if member.content not in contents and not is_explained:
            lost.update(member.roots)
    for root, count in lost.items():
        if count >= MANY and count > max_loss * held[root]:
            reasons[root] = f"{root} lost {count} of {held[root]} images"
    return reasons
