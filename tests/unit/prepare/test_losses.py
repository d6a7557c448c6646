"""A: which absent images stay, and which have been deleted."""

from collections.abc import Iterable

import pytest

from prepare.losses import keep_absent
from prepare.members import Member
from prepare.scan import Obstacle, RootScan
from prepare.sources import Found

NOTHING = Found([], [], set())
FULL = RootScan("a", NOTHING)
MAX_LOSS = 0.2


def members(names: Iterable[object], *roots: str, **more: str) -> list[Member]:
    """Images of roots, each of a content of its own."""
    return [Member(f"{n}", 1, 0, 1, 0, more.get("content", f"c{n}"), roots) for n in names]


def offline(
    before: list[Member],
    now: list[Member],
    *scans: RootScan,
    obstacles: dict[str, Obstacle] | None = None,
) -> list[str]:
    """The paths of the images that stay."""
    kept = keep_absent(before, now, scans or (FULL,), MAX_LOSS, (obstacles or {}).get)
    assert sum(kept.reasons.values()) == len(kept.members)
    assert all(member.offline for member in kept.members)
    return [member.path for member in kept.members]


@pytest.mark.parametrize(
    ("images", "gone", "stay"), [(100, 20, 0), (100, 21, 21), (40, 9, 0), (12, 10, 10), (50, 10, 0)]
)
def test_the_share_that_a_root_may_lose(images: int, gone: int, stay: int) -> None:
    """Over a fifth, and ten at least."""
    before = members(range(images), "a")

    assert len(offline(before, before[gone:])) == stay


def test_what_is_offline_already_counts() -> None:
    """So a loss stays one until it is agreed to, and a root that comes back may have lost a few."""
    before = members(range(100), "a")
    first = keep_absent(before, before[50:], [FULL], MAX_LOSS, lambda _: None)
    after = [*before[50:], *first.members]

    assert len(offline(after, before[50:])) == 50
    assert len(offline(after, before[51:])) == 51
    assert offline(after, before[5:]) == []


@pytest.mark.parametrize(
    "scan", [RootScan("a", NOTHING, "there is no folder a"), RootScan("a", NOTHING)]
)
def test_a_root_of_which_nothing_is_there(scan: RootScan) -> None:
    """However few its images are."""
    assert offline(members("xy", "a"), [], scan) == ["x", "y"]


def test_a_root_that_is_no_longer_in_the_collection() -> None:
    """Its images leave, but for those of another root; those of no known root stay."""
    before = members("xy", "a") + members("z", "a", "b") + members("u")

    assert offline(before, [], RootScan("b", NOTHING)) == ["z", "u"]
    hidden = {"x": Obstacle("a is empty", 1)}
    assert offline(before, [], RootScan("b", NOTHING), obstacles=hidden) == ["z", "u"]


def test_what_has_moved_is_not_absent() -> None:
    """G: a content at a new path explains one absent image, also where the root is empty."""
    before = members("wxyz", "a", content="same")
    arrived = members(["new", "newer"], "b", content="same")

    assert offline(before, arrived, RootScan("a", NOTHING), RootScan("b", NOTHING)) == ["y", "z"]
    assert offline(before, before[:1] + arrived[:1], FULL) == []


def test_copies_that_are_cleared_away_are_no_loss() -> None:
    """Their content is searchable still; a root that is gone is another matter."""
    before = members(range(20), "a", content="same")

    assert offline(before, before[:1]) == []
    assert len(offline(before, [], RootScan("a", NOTHING, "gone"))) == 20


def test_a_folder_that_hides_images() -> None:
    """One that cannot be read from one image on, one that is empty from ten on."""
    before = members(range(100), "a")
    unread, empty = Obstacle("p cannot be read", 1), Obstacle("d is empty", 10)
    few = {"0": unread, **{f"{n}": empty for n in range(1, 10)}}

    assert offline(before, before[10:], obstacles=few) == ["0"]
    many = {**few, "10": empty}
    assert len(offline(before, before[11:], obstacles=many)) == 11
    assert len(offline(before, before[30:], obstacles=many)) == 11, "19 more are under a fifth"


def test_a_root_in_a_root_that_is_absent() -> None:
    """What is of both is no loss of the outer one, whose own deleted images may go."""
    before = members(range(50), "a", "b") + members(range(50, 100), "a")
    scans = FULL, RootScan("b", NOTHING, "gone")

    assert len(offline(before, before[60:], *scans)) == 50
