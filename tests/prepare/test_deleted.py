"""Images that were deleted live stay out, although their files are there."""

import os

import pytest

from tests.prepare.live import delete, id_of, put
from tests.prepare.prepared_folder import Workspace, add_images, noise


def test_what_was_deleted_stays_out(twelve: Workspace) -> None:
    """Also when its file is touched or moved; it is never embedded again."""
    path = twelve.images / "00003.png"
    delete(twelve, id_of(twelve, path))

    told = twelve.prepare()
    assert "live since the last run: 0 put, 0 patched, 1 deleted" in told
    assert "files that stay out, as their images were deleted live: 1;" in told
    assert "11 images, 0 looked at in this run" in told

    os.utime(path, ns=(1, 1))
    assert "11 images, 1 looked at in this run, 0 skipped, 0 embedded" in twelve.prepare()
    moved = path.rename(path.with_name("moved.png"))
    assert "11 images, 1 looked at in this run, 0 skipped, 0 embedded" in twelve.prepare()
    assert "11 images, 0 looked at in this run" in twelve.prepare()
    moved.rename(path)
    assert "11 images" in twelve.prepare()
    assert "images/00003.png" not in twelve.ids()


def test_a_file_that_was_deleted_itself_may_come_back_elsewhere(twelve: Workspace) -> None:
    """Its path stays out; a copy that appears two runs later is no file that was moved."""
    path = twelve.images / "00003.png"
    delete(twelve, id_of(twelve, path))
    twelve.prepare()
    path.unlink()
    twelve.prepare()

    for name in ("copy.png", path.name):
        noise(3).save(twelve.images / name, compress_level=0)
    assert "12 images" in twelve.prepare()

    assert "images/copy.png" in twelve.ids()
    assert "images/00003.png" not in twelve.ids()


@pytest.mark.parametrize("way", ["put", "add", "edit"])
def test_a_deletion_ends(twelve: Workspace, way: str) -> None:
    """When the image is put, when its file is named, and when the file gets other content."""
    path = twelve.images / "00003.png"
    delete(twelve, id_of(twelve, path))
    assert "11 images" in twelve.prepare()

    match way:
        case "put":
            put(twelve, path)
            told = twelve.prepare()
        case "add":
            told = twelve.prepare("add", str(path))
        case _:
            noise(77).save(path)
            told = twelve.prepare()

    assert "12 images" in told
    assert "stay out" not in told
    assert "12 images, 0 looked at" in twelve.prepare()


def test_adding_the_folder_does_not_end_deletions(twelve: Workspace) -> None:
    """Nor giving it up and adding it again."""
    delete(twelve, id_of(twelve, twelve.images / "00003.png"))
    add_images(twelve.root / "more", [30])
    assert "12 images" in twelve.prepare("add", str(twelve.root / "more"))

    twelve.prepare("remove", str(twelve.images))
    assert "12 images" in twelve.prepare("add", str(twelve.images))
