"""Answers tell paths from their roots, which stay apart."""

import pytest

from prepare.told_paths import add_root, told_from
from search.messages import Record


def told(paths: list[str], *roots: str) -> list[str]:
    """What answers tell of paths."""
    begin = told_from(paths, roots)
    return [Record(path, told_from=begin(path)).told_path for path in paths]


@pytest.mark.parametrize(
    ("paths", "roots", "expected"),
    [
        (["images/a.jpg"], [], ["images/a.jpg"]),
        (["/mnt/nas/photos/2020/a.jpg"], ["/mnt/nas/photos"], ["photos/2020/a.jpg"]),
        (
            ["/mnt/a/photos/1.jpg", "/mnt/b/photos/1.jpg"],
            ["/mnt/a/photos", "/mnt/b/photos"],
            ["a/photos/1.jpg", "b/photos/1.jpg"],
        ),
        (
            ["photos/1.jpg", "/mnt/photos/1.jpg"],
            ["/mnt/photos"],
            ["photos/1.jpg", "mnt/photos/1.jpg"],
        ),
        (
            ["/x/a/b/1.jpg", "/y/a/b/1.jpg", "/z/b/1.jpg"],
            ["/x/a", "/y/a/b", "/z/b"],
            ["a/b/1.jpg", "y/a/b/1.jpg", "z/b/1.jpg"],
        ),
        (["/m/a/1.jpg", "/m/a/b/2.jpg"], ["/m/a", "/m/a/b"], ["a/1.jpg", "b/2.jpg"]),
        (["/1.jpg", "/x/2.jpg"], ["/"], ["1.jpg", "x/2.jpg"]),
        (["/no/root/1.jpg"], [], ["1.jpg"]),
        (["/a" + "/d" * 2000 + "/1.jpg"], ["/a"], ["a" + "/d" * 2000 + "/1.jpg"]),
    ],
)
def test_paths_are_told_from_their_roots(
    paths: list[str], roots: list[str], expected: list[str]
) -> None:
    """By the last name of the root, or by as many as tell it from the others."""
    assert expected == told(paths, *roots)


def test_the_record_of_an_older_index_tells_the_name_alone() -> None:
    """It has no begin, and its path may be absolute."""
    assert "1.jpg" == Record("/srv/photos/1.jpg").told_path
    assert "photos/1.jpg" == Record("photos/1.jpg").told_path


def test_the_root_of_what_a_list_names_elsewhere_is_what_it_shares() -> None:
    """One for each folder at the top; what lies beside the list has the list's folder."""
    others: dict[str, str] = {}
    for path in (
        "/data/a/1.jpg",
        "/data/a/x/2.jpg",
        "/mnt/b/3.jpg",
        "/lists/4.jpg",
        "images/5.jpg",
    ):
        add_root(others, "/lists", path)

    assert others == {"data": "/data/a", "mnt": "/mnt/b"}
