"""What is found under roots, and what may hide what is not found."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config import Loaded, parse
from common.errors import ConfigError
from prepare.lines import Spill
from prepare.scan import MANY, Obstacle, RootScan, is_below, merged, obstacle_finder, scan_roots


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with two files, a list that names one of them and one that is absent."""
    (tmp_path / "a/deep").mkdir(parents=True)
    for name in ("a/x.png", "a/deep/y.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "list.txt").write_text("a/x.png\nz.png")
    return tmp_path


def scan(base: Path, *names: str, new: tuple[str, ...] = ()) -> list[RootScan]:
    """Look through roots, of which some are named for the first time."""
    return scan_roots(names, Loaded(parse("{}"), base), new, new)


def test_a_file_of_two_roots_is_found_once(base: Path) -> None:
    """And has both; of folders in each other it has the inner one."""
    files = merged(scan(base, "a", "list.txt", "a/deep"), Spill())

    assert [(file.source.path, file.roots) for file in files] == [
        ("a/deep/y.png", ("a/deep",)),
        ("a/x.png", ("a", "list.txt")),
        ("z.png", ("list.txt",)),
    ]


def test_two_slashes_at_the_front_of_a_path_are_one(base: Path) -> None:
    """Of a root and in a list: a file has one name, and one root from which it is told."""
    (base / "list.txt").write_text(f"/{base}/a/x.png\n//mnt/nas/z.png")
    folder, listed = scan(base / "other", f"/{base}/a", f"{base}/list.txt")

    paths = [[source.path for source in root.found.sources] for root in (folder, listed)]
    assert paths == [
        [f"{base}/a/deep/y.png", f"{base}/a/x.png"],
        ["/mnt/nas/z.png", f"{base}/a/x.png"],
    ]
    assert folder.found.roots | listed.found.roots == {f"{base}/a", str(base), "/mnt/nas"}


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_new_root_must_be_there(base: Path, name: str) -> None:
    """H: one that was there before has a problem or no images."""
    (base / "empty").mkdir()
    (base / "empty/film.mp4").touch()
    with pytest.raises(ConfigError, match=f"there (is|are) no .*{name}") as raised:
        scan(base, "a", name, new=(name,))
    assert ("not looked at: 1 .mp4" in str(raised.value)) == (name == "empty")
    (found,) = scan(base, name)
    assert (found.problem is None, list(found.found.sources)) == (name == "empty", [])


def test_folders_that_cannot_be_read_are_noted(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A: by the walk itself, as the disk may fail for a moment."""
    scandir = os.scandir

    def fail(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("deep"):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    (scanned,) = scan(base, "a")

    assert [source.path for source in scanned.found.sources] == ["a/x.png"]
    unread = {left.path for left in scanned.found.left_out if left.kind == "error"}
    found = obstacle_finder(base, unread)("a/deep/further/y.png")
    assert found == Obstacle("a/deep cannot be read", 1)
    assert obstacle_finder(base, unread)("a/deep") == found


def test_what_may_hide_a_file(base: Path) -> None:
    """A: an empty folder above it, also by a link; not a folder that holds anything."""
    (base / "disk").mkdir()
    (base / "link.png").symlink_to("disk/deep/x.png")
    find = obstacle_finder(base, ())

    assert find("disk/deep/x.png") == find("link.png") == Obstacle("disk is empty", MANY)
    assert find("a/absent.png") is find("a/absent/absent.png") is None
    assert find("a/x.png/absent.png") is None
    assert find("a/x.png") is None


def test_what_is_below_a_name() -> None:
    """The name itself, and what has it as a folder."""
    assert is_below("a/b/c", {"a/b"})
    assert is_below("a", {"a"})
    assert not is_below("ab/c", {"a", "ab/c/d"})
