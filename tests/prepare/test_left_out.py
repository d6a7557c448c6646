"""What a run says of all that it does not look at (cases of kind B and E)."""

import os
import subprocess
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.settings.prepare import Prepare
from prepare.sources import walk_of
from tests.prepare.prepared_folder import Workspace, add_images, noise
from tests.unit.prepare.walking import nest

LINE = (
    "not looked at: 2 .svg, 1 .mp4, 1 folder excluded (@eaDir/), 1 file excluded (._*), "
    "1 link that leads out; --list-left-out shows them"
)


@pytest.fixture
def mixed(workspace: Workspace) -> Workspace:
    """Images of right, wrong and no endings, a broken one, and what is left out."""
    images = workspace.images
    add_images(images, range(2))
    for name in ("IMG_0001", "phone.HEIC", "odd\nname.jpg"):
        noise(len(name)).save(images / name, "JPEG")
    for name in ("a.svg", "b.svg", "film.mp4", "._owl.jpg"):
        (images / name).write_text("<svg/>")
    add_images(images / "@eaDir/owl.jpg", [7])
    add_images(workspace.root / "elsewhere", [8])
    (images / "linked").symlink_to(workspace.root / "elsewhere")
    (images / "broken.jpg").write_text("not an image")
    return workspace


def test_a_run_tells_what_it_did_not_look_at(mixed: Workspace) -> None:
    """Kind B: once, by kind and count, also in a run that has nothing else to do."""
    first, second = mixed.prepare(), mixed.prepare()

    assert LINE in first.splitlines()
    assert LINE in second.splitlines()
    assert "5 images, 6 looked at in this run, 1 skipped" in first
    names = {"00000.png", "00001.png", "IMG_0001", "phone.HEIC", "odd\nname.jpg"}
    assert {f"images/{name}" for name in names} == mixed.ids().keys()


def test_all_of_it_is_listed_on_request(mixed: Workspace) -> None:
    """Kind B: what was skipped and what was left out in one place, each with its reason."""
    told = mixed.prepare("--list-left-out").splitlines()

    assert told[0].startswith("skipped images/broken.jpg: not an image in a format that is read")
    assert [
        "left out images/._owl.jpg: excluded by ._*",
        "left out images/@eaDir: excluded by @eaDir/",
        "left out images/a.svg: no image, ends in .svg",
        "left out images/b.svg: no image, ends in .svg",
        "left out images/film.mp4: no image, ends in .mp4",
        f"left out images/linked: the link leads out, to {mixed.root}/elsewhere",
        LINE,
    ] == told[1:8]


def test_only_what_is_left_out_is_told_before_the_error(workspace: Workspace) -> None:
    """Kind B and H: a folder without an image that we read says what it holds."""
    (workspace.images / "a.svg").write_text("<svg/>")

    done = workspace.run()

    assert 2 == done.returncode
    assert "not looked at: 1 .svg; --list-left-out shows them" in done.stdout
    assert "no images to index" in done.stderr


def test_what_is_named_itself_is_taken(workspace: Workspace) -> None:
    """Kind B: no pattern excludes a file of the command line or of a list, nor a root."""
    hidden, listed = workspace.root / ".hidden", workspace.root / "@eaDir"
    add_images(hidden, [1])
    add_images(listed, [2])
    (workspace.root / "list.txt").write_text("@eaDir/00002.png\n")
    (workspace.root / "._3.png").write_bytes((listed / "00002.png").read_bytes())

    workspace.prepare(".hidden", "list.txt", "._3.png")

    assert {".hidden/00001.png", "@eaDir/00002.png", "._3.png"} == workspace.ids().keys()


def test_patterns_and_links_are_settings(mixed: Workspace) -> None:
    """Prepare.exclude replaces the default; Prepare.follow-links takes what links lead to."""
    other = mixed.having(exclude=["*.HEIC"], follow_links=True)

    told = other.prepare()

    paths = other.ids().keys()
    assert {"images/linked/00008.png", "images/@eaDir/owl.jpg/00007.png"} <= paths
    assert "images/phone.HEIC" not in paths
    assert "1 file excluded (*.HEIC)" in told


def test_a_pattern_that_matches_nothing_stops_the_run(tmp_path: Path) -> None:
    """Kind H: the message names the key and how to write it."""
    with pytest.raises(ConfigError, match=r"Prepare\.exclude: '#recycle'"):
        walk_of([tmp_path], Prepare(exclude=("#recycle",)))


def test_odd_names_in_a_list_of_what_is_left_out(workspace: Workspace) -> None:
    """Kind E: each is one printable line."""
    add_images(workspace.images, [1])
    for name in (b"a\nb.svg", b"\x1b[2J.svg", b"\xff.svg"):
        Path(os.fsdecode(os.fsencode(workspace.images) + b"/" + name)).touch()

    lines = workspace.prepare("--list-left-out").splitlines()

    assert 3 == sum(line.startswith("left out ") for line in lines)
    assert all(line.isprintable() for line in lines)


def test_depth_ends_no_run(workspace: Workspace) -> None:
    """Kind B and E: an image below 1,000 folders is indexed; one that no call reaches is told."""
    add_images(workspace.images, [1])
    nest(workspace.images, "d", 1000, (workspace.images / "00001.png").read_bytes())
    nest(workspace.images, "e" * 200, 25)
    try:
        told = workspace.prepare()
        assert "2 images, 2 looked at in this run, 0 skipped" in told
        assert "not looked at: 1 that cannot be read" in told
    finally:  # Python's own way to remove a tree is not made for such a depth
        subprocess.run(["rm", "-rf", workspace.images], check=True)
