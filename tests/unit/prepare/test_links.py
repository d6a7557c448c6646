"""Links below a folder: each image is taken once, and what leads out is told (kind B)."""

from pathlib import Path

import pytest

from prepare.exclude import Exclude
from prepare.links import Links
from tests.unit.prepare.walking import walk, write


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A root `photos` with an image in a folder, and images elsewhere."""
    write(tmp_path, "photos/a/1.jpg", "elsewhere/2.jpg", "elsewhere/deep/3.jpg")
    return tmp_path


def link(top: Path, name: str, target: str) -> None:
    """A link at `name` to `target`, both below `top`."""
    (top / name).parent.mkdir(parents=True, exist_ok=True)
    (top / name).symlink_to(top / target)


@pytest.mark.parametrize("follow", [False, True])
def test_a_link_inside_a_root_is_no_second_copy(top: Path, follow: bool) -> None:
    """Kind B: to a file, a folder, the folder above it or itself; the real one is taken."""
    link(top, "photos/file.jpg", "photos/a/1.jpg")
    link(top, "photos/0", "photos/a")
    link(top, "photos/a/loop", "photos/a")
    link(top, "photos/a/root", "photos")

    walked = walk(top, "photos", follow_links=follow)

    assert (["photos/a/1.jpg"], {}) == walked


def test_links_that_lead_out_are_told(top: Path) -> None:
    """Kind B: a linked file as a linked folder, each with where it leads."""
    link(top, "photos/folder", "elsewhere")
    link(top, "photos/file.jpg", "elsewhere/2.jpg")

    walked = walk(top, "photos")

    assert ["photos/a/1.jpg"] == walked.taken
    told = {path: (one.kind, one.detail) for path, one in walked.left_out.items()}
    assert told == {
        "photos/file.jpg": ("link", str(top / "elsewhere/2.jpg")),
        "photos/folder": ("link", str(top / "elsewhere")),
    }


def test_links_that_lead_out_are_followed_once_if_asked(top: Path) -> None:
    """Also where two lead to one place, or one to a part of the other's, or back to the root."""
    link(top, "photos/0.jpg", "elsewhere/2.jpg")
    link(top, "photos/a/file.jpg", "elsewhere/2.jpg")
    link(top, "photos/b", "elsewhere/deep")
    link(top, "photos/c", "elsewhere")
    link(top, "photos/d", "elsewhere")
    link(top, "elsewhere/back", "photos")
    link(top, "elsewhere/round", "elsewhere")

    walked = walk(top, "photos", follow_links=True)

    assert ["photos/0.jpg", "photos/a/1.jpg", "photos/b/3.jpg"] == walked.taken
    assert {} == walked.left_out


def test_a_link_to_all_that_there_is_ends(top: Path) -> None:
    """A followed link to a folder above the root does not come to the root again."""
    link(top, "photos/above", "")

    walked = walk(top, "photos", follow_links=True)

    others = ["photos/above/elsewhere/2.jpg", "photos/above/elsewhere/deep/3.jpg"]
    assert ["photos/a/1.jpg", *others] == walked.taken


def test_a_link_stands_for_what_is_excluded_in_its_root(top: Path) -> None:
    """Kind B: git-annex and others keep files in a hidden folder, and links to them outside."""
    write(top, "photos/.git/annex/x1.jpg", "photos/.git/annex/x2.jpg")
    link(top, "photos/b/1.jpg", "photos/.git/annex/x1.jpg")
    link(top, "photos/b/2.jpg", "photos/.git/annex/x1.jpg")

    assert ["photos/a/1.jpg", "photos/b/1.jpg"] == walk(top, "photos").taken
    link(top, "photos/b/c", "photos/.git/annex")
    assert ["photos/b/1.jpg", "photos/b/c/x2.jpg"] == walk(top, "photos").taken[1:]


def test_a_link_into_another_root_adds_nothing(top: Path) -> None:
    """Both roots are walked, and a root in another once."""
    link(top, "photos/other", "elsewhere")

    walked = walk(top, "photos", "elsewhere", "elsewhere/deep")

    assert ["photos/a/1.jpg", "elsewhere/2.jpg", "elsewhere/deep/3.jpg"] == walked.taken
    assert {} == walked.left_out


def test_links_that_lead_nowhere_are_told(top: Path) -> None:
    """Kind B: with an image's ending they are skipped images, which a run reports."""
    (top / "photos/gone").symlink_to("nowhere")
    (top / "photos/gone.jpg").symlink_to("nowhere")
    (top / "photos/loop").symlink_to("loop")
    (top / "photos/.#lock").symlink_to("user@host")

    walked = walk(top, "photos")

    assert ["photos/gone.jpg", "photos/a/1.jpg"] == walked.taken
    told = {path: (one.kind, one.detail) for path, one in walked.left_out.items()}
    assert told == {
        "photos/gone": ("broken", "No such file or directory"),
        "photos/loop": ("broken", "Too many levels of symbolic links"),
        "photos/.#lock": ("excluded file", ".*"),
    }


def test_a_root_may_be_a_link(top: Path) -> None:
    """Who names it means where it leads."""
    link(top, "root", "elsewhere")

    assert ["root/2.jpg", "root/deep/3.jpg"] == walk(top, "root").taken


def test_what_is_excluded_is_not_walked(top: Path) -> None:
    """A target below an excluded folder has no other way to it than the link."""
    links = Links([str(top)], Exclude(["/a/", "!*.png"]), follow=False)
    real = str(top.resolve())

    assert "follow" == links.follow(f"{real}/a/b/1.jpg", "1.jpg", is_folder=False)
    assert "taken" == links.follow(f"{real}/a/b/1.jpg", "2.jpg", is_folder=False)
    assert "follow" == links.follow(f"{real}/a/b/1.png", "1.png", is_folder=False)
    assert "taken" == links.follow(f"{real}/b/a/1.jpg", "3.jpg", is_folder=False)
    assert "out" == links.follow("/somewhere/else", "4.jpg", is_folder=False)
