"""Which files stay out as their images were deleted live."""

from prepare.chunks import Skipped
from prepare.members import Member, Removed
from prepare.removals import Removals, Result
from prepare.scan import Listed
from prepare.sources import Source
from prepare.stored import StoredRow


def listed(path: str, mtime_ns: int = 1) -> Listed:
    return Listed(Source(path, 1, mtime_ns), ("root",))


def result(path: str, content: str, mtime_ns: int = 1) -> Result:
    return listed(path, mtime_ns), StoredRow(1, 0, content)


def test_an_unchanged_file_is_not_read() -> None:
    """By size and time; another is read, and stays out by its content."""
    removals = Removals([])
    removals.add(Member("x", 1, 1, 1, 0, "c"))
    changed, other = result("x", "c", 2), result("x", "d", 2)

    to_read = removals.to_read([listed("x"), listed("y"), changed[0]])
    assert list(to_read()) == [listed("y"), changed[0]]
    assert list(removals.keep_out([changed, other, result("y", "c")])) == [other, result("y", "c")]
    assert list(to_read()) == [listed("y"), changed[0]], "it goes through the same again"
    assert not list(removals.to_read([changed[0]])()), "it is known now as it is"


def test_skipped_files_are_told() -> None:
    """They have no content by which they were deleted."""
    skipped = listed("x"), StoredRow(1, -1, skipped=Skipped("x", 1, 1, "broken"))
    assert list(Removals([Removed("x", "c", 1, 1)]).keep_out([skipped])) == [skipped]


def test_a_deletion_goes_with_a_file_that_moves() -> None:
    """In the run in which it is gone from its path, not in a later one."""
    removals = Removals([Removed("x", "c", 1, 1), Removed("there", "d", 1, 1)])
    removals.follow({"there"}, {"new": "c", "copy": "d"})
    assert removals.all() == (
        Removed("new", "c", 1, 1),
        Removed("there", "d", 1, 1),
        Removed("x", "c", 0, 0),
    )
    removals.follow({"there", "new"}, {"newer": "c"})
    assert ("newer", "c") not in removals


def test_a_deletion_ends() -> None:
    """By the image, or by all contents of a path."""
    removals = Removals([Removed("x", content, 1, 1) for content in "cde"])
    removals.end("x", "c")
    assert [image.content for image in removals.all()] == ["d", "e"]
    removals.end_at({"x"})
    assert removals.all() == ()
