"""Which metadata an image has that tables and live writes tell of."""

import pytest

from prepare.members import Member, Removed
from prepare.written import Metadata, moved, source_metadata, with_written


def member(path: str, metadata: Metadata, told: Metadata | None = None) -> Member:
    return Member(path, 1, 1, 1, 0, "c", ("a",), metadata, source_metadata=told)


@pytest.mark.parametrize(
    ("told_before", "written", "told", "expected"),
    [
        ({}, {"a": 1}, {}, {"a": 1}),
        ({"a": 0, "b": 0}, {"a": 1}, {"a": 0, "b": 0}, {"a": 1}),
        ({"a": 0, "b": 0}, {"a": 1}, {"a": 0, "b": 2}, {"a": 1, "b": 2}),
        ({"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 0}, {"a": 1}),
        ({"a": 0}, {"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": None}, {"a": 1}, {}, {}),
        ({}, {"a": 1}, {"a": None, "c": 3}, {"a": None, "c": 3}),
    ],
)
def test_a_table_changes_the_fields_that_changed_in_it(
    told_before: Metadata, written: Metadata, told: Metadata, expected: Metadata
) -> None:
    """All others stay as they were written, or removed."""
    now = with_written(member("x", told), member("x", written, told_before))

    assert now.metadata == expected
    assert source_metadata(now) == told
    assert with_written(member("x", told), now) == now, "the next run changes nothing"


def test_what_was_not_written_is_as_tables_tell() -> None:
    """In the order in which they tell it, as records are compared by their bytes."""
    now = member("x", {"b": 1, "a": 2})
    assert with_written(now, member("x", {"a": 2, "b": 1})) is now
    assert with_written(now, None) is now


def test_a_moved_file_keeps_what_was_written() -> None:
    """And what a table told of its old path, unless one names the new path."""
    written = member("x", {"a": 1, "b": 2}, {"b": 2})

    now = with_written(member("y", {}), written)
    assert (now.metadata, now.source_metadata) == ({"a": 1, "b": 2}, {})
    assert with_written(member("y", {"b": 3}), written).metadata == {"a": 1, "b": 3}


def test_each_new_path_explains_one_image() -> None:
    """Of the same content."""
    gone = [Removed("x", "c", 1, 1), Removed("y", "c", 1, 1), Removed("z", "d", 1, 1)]

    found = moved(gone, {"new": "c", "other": "e", "third": "d"})

    assert {"new": gone[1], "third": gone[2]} == found
