"""A: what is absent is not deleted; it stays searchable, and the run says so and how to agree."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.roots import COLLECTION
from prepare.members import LIVE, MEMBERS, read_members
from tests.prepare.prepared_folder import Workspace, add_images, paths_of

OFFLINE = 3


@pytest.fixture
def two(twelve: Workspace) -> Workspace:
    """Two roots, of twelve images and of thirty."""
    add_images(twelve.root / "more", range(12, 42))
    twelve.prepare("more")
    return twelve


def embedded(told: str) -> int:
    """How many images a run says it embedded."""
    return int(told.partition(" embedded")[0].split()[-1])


def test_a_root_that_is_unmounted_and_mounted_again(twelve: Workspace) -> None:
    """A: an empty mount point keeps all as offline; back again nothing is embedded."""
    ids, away = twelve.ids(), twelve.root / "away"
    twelve.images.rename(away)
    twelve.images.mkdir()

    told = twelve.prepare(status=OFFLINE)
    assert embedded(told) == 0
    assert "12 images are offline: images has no images (12)" in told
    assert "--accept-loss" in told.splitlines()[-1]
    assert ids == twelve.ids()
    assert ids.keys() == twelve.offline()

    twelve.images.rmdir()
    assert "12 images are offline: there is no" in twelve.prepare(status=OFFLINE)

    away.rename(twelve.images)
    assert (
        "12 images, 0 looked at in this run, 0 skipped, 0 embedded, 0 offline" in twelve.prepare()
    )
    assert (ids, set()) == (twelve.ids(), twelve.offline())


def test_one_of_two_roots_is_empty(two: Workspace) -> None:
    """A: its images stay, those of the other are as they were."""
    ids = two.ids()
    shutil.rmtree(two.root / "more")
    (two.root / "more").mkdir()

    two.prepare(status=OFFLINE)

    assert ids == two.ids()
    assert {path for path in ids if path.startswith("more/")} == two.offline()


def test_a_folder_that_cannot_be_read(two: Workspace) -> None:
    """A: its images stay, however few; without root's right to read everything."""
    private = two.images / "private"
    add_images(private, range(50, 52))
    two.prepare()
    ids = two.ids()
    private.chmod(0)
    try:
        done = two.unprivileged()
        told = done.stderr.splitlines()[-1]
        assert (OFFLINE, 2) == (done.returncode, len(two.offline())), done.stderr
        assert "2 images are offline: images/private cannot be read (2)" in told
        private.chmod(0o600)  # its names can be read, and no file behind them
        assert (OFFLINE, 2) == (two.unprivileged().returncode, len(two.offline()))
    finally:
        private.chmod(0o700)
    assert ids == two.ids()
    assert embedded(two.prepare()) == 0
    assert (ids, set()) == (two.ids(), two.offline())


def test_an_empty_folder_where_a_disk_may_be_mounted(two: Workspace) -> None:
    """A: ten images or more in a folder that is empty now stay, though they are few of the root."""
    disk = two.root / "more/disk"
    add_images(two.root / "more", range(50, 200))
    add_images(disk / "deep", range(200, 210))
    two.prepare()
    shutil.rmtree(disk / "deep")

    assert "more/disk is empty (10)" in two.prepare(status=OFFLINE)
    disk.rmdir()
    assert "182 images are offline" not in two.prepare(status=0)


@pytest.mark.parametrize(("gone", "status"), [(9, 0), (10, OFFLINE), (6, 0)])
def test_a_root_that_lost_much(two: Workspace, gone: int, status: int) -> None:
    """A: over max-loss of its images, and ten at least; below that they were deleted."""
    for number in range(12, 12 + gone):
        (two.root / f"more/{number:05}.png").unlink()

    told = two.prepare(status=status)

    assert len(two.offline()) == (gone if status else 0)
    assert (f"more lost {gone} of 30 images ({gone})" in told) == bool(status)
    assert len(two.ids()) == 42 - (0 if status else gone)


def test_a_loss_that_is_agreed_to(two: Workspace) -> None:
    """A: --accept-loss lets them leave; their embeddings stay while a version has them."""
    away = two.root.with_name("away")
    shutil.move(two.root / "more", away)
    two.prepare(status=OFFLINE)

    assert "12 images, 0 looked at" in two.prepare("--accept-loss")
    assert paths_of([path.name for path in two.images.iterdir()]) == two.ids().keys()

    shutil.move(away, two.root / "more")
    assert embedded(two.prepare()) == 0
    assert len(two.ids()) == 42


def test_another_path_is_added_and_removed(twelve: Workspace) -> None:
    """A: a path on the command line joins the collection; only `remove` takes from it."""
    add_images(twelve.root / "new", range(12, 14))

    assert "added to the collection: new" in twelve.prepare("new")
    assert len(twelve.ids()) == 14
    assert "14 images, 0 looked at" in twelve.prepare()
    assert "added" not in twelve.prepare("images", "new", "./new/../new")

    assert "removed from the collection: images" in twelve.prepare("remove", "images")
    assert {"new/00012.png", "new/00013.png"} == twelve.ids().keys()
    assert "14 images, 0 looked at" in twelve.prepare("add", "images").replace(
        "12 looked", "0 looked"
    )


def test_a_root_in_a_root(twelve: Workspace) -> None:
    """A: of two roots that hold an image, one that is absent is enough to keep it."""
    inner = twelve.images / "disk"
    add_images(inner, range(20, 23))
    twelve.prepare()
    assert "added" not in twelve.prepare("images/disk"), "its images are held already"
    twelve.prepare("add", "images/disk")
    away = twelve.root / "away"
    inner.rename(away)

    assert "3 images are offline: there is no" in twelve.prepare(status=OFFLINE)
    away.rename(inner)
    twelve.prepare("remove", "images/disk")
    assert len(twelve.ids()) == 15


def test_a_list_that_lost_its_lines(two: Workspace) -> None:
    """A: as a folder that lost its files, also when it is empty or no list any more."""
    names = [f"more/{number:05}.png" for number in range(12, 42)]
    listed = two.root / "list.txt"
    listed.write_text("\n".join(names))
    two.prepare("add", "list.txt")
    two.prepare("remove", "more")

    listed.write_text("\n".join(names[:15]))
    assert "list.txt lost 15 of 30 images (15)" in two.prepare(status=OFFLINE)
    listed.write_text("")
    assert "list.txt has no images (30)" in two.prepare(status=OFFLINE)
    listed.write_bytes(b"\xff")
    assert "cannot read" in two.prepare(status=OFFLINE)
    listed.write_text("\n".join(names[:27]))
    two.prepare()
    assert len(two.ids()) == 12 + 27


def test_a_moved_root_is_no_loss(two: Workspace) -> None:
    """G: what is found at a new path is not absent, wherever it was."""
    (two.root / "more").rename(two.root / "elsewhere")

    told = two.prepare("elsewhere")

    assert "42 images, 30 looked at in this run, 0 skipped, 0 embedded, 0 offline" in told
    assert {path.partition("/")[0] for path in two.ids()} == {"images", "elsewhere"}


def test_what_a_setting_leaves_out_is_not_absent(two: Workspace) -> None:
    """A: a pattern is an order, so what it excludes leaves, however much it is."""
    two.having(exclude=["0002?.png"]).prepare()

    assert len(two.ids()) == 32
    assert embedded(two.prepare()) == 0
    assert len(two.ids()) == 42


def test_files_that_break_together(two: Workspace) -> None:
    """A: a disk that gives back nothing but zeros is no edit of its images."""
    for number in range(12, 27):
        path = two.root / f"more/{number:05}.png"
        path.write_bytes(bytes(path.stat().st_size))

    assert "more lost 15 of 30 images" in two.prepare(status=OFFLINE)
    assert len(two.ids()) == 42


def test_what_an_earlier_release_left(two: Workspace) -> None:
    """A: images of no known root stay until their root is named."""
    ids = two.ids()
    members = [one for one in read_members(two.embeddings) if one.is_searchable]
    live = np.array([(one.chunk, one.row) for one in members], np.int32)
    np.save(two.embeddings.path / LIVE, live)
    for name in (MEMBERS, COLLECTION):
        (two.embeddings.path / name).unlink()
    shutil.move(two.root / "more", two.root.with_name("away"))

    told = two.prepare(status=OFFLINE)
    assert "30 images are offline: no root names them (30)" in told
    assert ids == two.ids()
    assert not (two.embeddings.path / LIVE).exists()

    shutil.move(two.root.with_name("away"), two.root / "more")
    assert embedded(two.prepare("add", "more")) == 0
    assert (ids, set()) == (two.ids(), two.offline())


def test_the_list_of_roots_is_lost(two: Workspace) -> None:
    """A: the images tell of it; a damaged one is told."""
    file = two.embeddings.path / COLLECTION
    file.write_text("[")
    done = two.run()
    assert (2, True) == (done.returncode, "delete it" in done.stderr)

    file.unlink()
    assert "42 images, 0 looked at" in two.prepare()
    assert ["images", "more"] == two.prepare("list").splitlines()


def test_another_model_while_images_are_offline(two: Workspace, model: Path) -> None:
    """A: what it cannot embed does not leave unless that is agreed to."""
    ids = two.ids()
    shutil.move(two.root / "more", two.root.with_name("away"))
    other = Workspace(two.root, model.with_name("starter"), two.keys)
    config = {**other.config, "Inference": {"clip": "starter"}}

    done = two.run(config=config)

    assert 2 == done.returncode
    assert "30 images are offline" in done.stderr
    assert ids == two.ids()
    done = two.run("--accept-loss", config=config)
    assert (0, 12) == (done.returncode, len(two.ids())), done.stderr
