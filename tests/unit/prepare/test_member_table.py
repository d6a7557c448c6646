"""The images of a collection by their paths."""

from msgspec.structs import replace

from common.files import location_hash
from prepare.member_table import MemberTable
from prepare.members import Member

A, B, BROKEN = Member("a", 1, 1, 1, 0, "1"), Member("b", 1, 1, 1, 1, "2"), Member("c", 1, 1, 1, -1)


def test_images_are_found_by_path() -> None:
    """Skipped files are none; a file that broke may be both, and its image is found."""
    images = MemberTable([A, B, BROKEN, replace(BROKEN, path="b")])

    assert list(images) == [A, B]
    assert (images.get("a"), images.get("b"), images.get("c")) == (A, B, None)
    assert images.at(location_hash("b")) == B


def test_images_change() -> None:
    """What was there before is not changed."""
    members = [A, B]
    images = MemberTable(members)
    new, changed = Member("d", 1, 1, 1, 2, "3"), replace(B, content="4")
    images.put(new)
    images.put(changed)
    images.remove("a")
    images.remove("unknown")

    assert (images.get("a"), images.get("b"), images.get("d")) == (None, changed, new)
    assert set(map(repr, images)) == {repr(new), repr(changed)}
    assert members == [A, B]
