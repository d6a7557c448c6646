"""prepare over every kind of file that a folder of images may hold."""

import os

import pytest
from PIL import Image

from tests.front.pictures import encoded
from tests.prepare.odd_files import png_header, write_bad, write_good
from tests.prepare.prepared_folder import Workspace, add_images, noise, paths_of
from tests.raw_photos import dng


def test_all_formats_and_modes_are_indexed(workspace: Workspace) -> None:
    """Kind B: images of every format, colour mode and depth are all in the index."""
    names = write_good(workspace.images)

    told = workspace.prepare()

    assert paths_of(names) == workspace.ids().keys()
    assert f"{len(names)} images, {len(names)} looked at in this run, 0 skipped" in told


def test_a_raw_photo_is_known_by_its_content(workspace: Workspace) -> None:
    """Kind B: of files that are all named .cr2, those that hold a picture are indexed."""
    jpeg = encoded(noise(1, 40, 30), "JPEG")
    files = {
        "camera.cr2": dng(jpeg, (40, 30)),
        "renamed.cr2": jpeg,
        "scan.CR2": encoded(noise(2), "TIFF"),
        "broken.cr2": b"II*\0\x10\0\0\0CR\2\0" + bytes(1000),
        "text.cr2": b"no photo",
    }
    for name, data in files.items():
        (workspace.images / name).write_bytes(data)

    workspace.prepare()

    assert paths_of(["camera.cr2", "renamed.cr2", "scan.CR2"]) == workspace.ids().keys()
    reasons = {path: skipped.reason for path, skipped in workspace.skipped().items()}
    assert paths_of(["broken.cr2", "text.cr2"]) == reasons.keys()
    assert "the RAW photo is broken" in reasons["images/broken.cr2"]
    assert "not an image in a format that is read" in reasons["images/text.cr2"]
    rows = workspace.vectors()
    (camera, renamed) = (rows[f"images/{name}.cr2"] for name in ("camera", "renamed"))
    assert camera.tolist() == renamed.tolist()


def test_a_rotated_photo_is_embedded_upright(workspace: Workspace) -> None:
    """An image that is turned by its EXIF orientation gets the embedding of the turned pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(1, 40, 30).save(workspace.images / "turned.png", exif=exif)
    noise(1, 40, 30).transpose(Image.Transpose.ROTATE_270).save(workspace.images / "upright.png")

    workspace.prepare()

    turned, upright = workspace.vectors().values()
    assert upright.tolist() == turned.tolist()


def test_what_is_no_good_image_is_skipped_with_the_reason(workspace: Workspace) -> None:
    """Broken, huge, thin, odd and special files: exit 0, right counts, each reason journalled."""
    good = write_good(workspace.images)
    reasons = write_bad(workspace.images)

    told = workspace.prepare()

    skipped = workspace.skipped()
    assert paths_of(list(reasons)) == skipped.keys()
    for name, reason in reasons.items():
        assert reason in skipped[os.path.join("images", name)].reason, name
    assert f"{len(good)} images, {len(good) + len(reasons)} looked at" in told
    assert f"{len(reasons)} skipped" in told
    assert paths_of(good) == workspace.ids().keys()


ODD_NAMES = [
    "-rf.png",
    " .png",
    "new\nline.png",
    "%41%00.png",
    "'\"`$(x).png",
    "\\n#?&.png",
    "\x1b[31mred.png",
    "\u202egnp.png",
    "e\u0301.png",
    "\xe9.png",
    "🦉.PNG",
    "a" * 247 + ".png",  # 255 bytes with another suffix, the longest there can be
]


def test_odd_names_are_names(workspace: Workspace) -> None:
    """Any that is UTF-8 is indexed as it is; where it is told it is one line, and printable."""
    for seed, name in enumerate(ODD_NAMES):
        noise(seed).save(workspace.images / name)
        (workspace.images / f"{name}.jpg").write_bytes(b"broken")

    told = workspace.prepare()

    assert paths_of(ODD_NAMES) == workspace.ids().keys()
    assert paths_of([f"{name}.jpg" for name in ODD_NAMES]) == workspace.skipped().keys()
    lines = told.splitlines()
    assert len(ODD_NAMES) == sum(line.startswith("skipped images/") for line in lines)
    assert all(line.isprintable() for line in lines)


def test_copies_and_an_image_named_twice(workspace: Workspace) -> None:
    """A copy is an image of its own; the same file by several ways or links to it is one."""
    (path,) = add_images(workspace.images, [0])
    (workspace.images / "copy.png").write_bytes(path.read_bytes())
    (workspace.images / "link.png").symlink_to(path)
    os.link(path, workspace.images / "hard.png")

    workspace.prepare("images", "images/00000.png", "images/../images", str(workspace.images))

    names = ["00000.png", "copy.png", "hard.png"]
    assert paths_of(names) == workspace.ids().keys()


def test_broken_files_are_not_tried_again(workspace: Workspace) -> None:
    """A second run looks only at those that a limit or the disk refused, and counts all."""
    add_images(workspace.images, range(3))
    reasons = write_bad(workspace.images)
    workspace.prepare()

    told = workspace.prepare()

    assert f"3 images, 2 looked at in this run, {len(reasons)} skipped" in told


def test_a_mended_file_is_indexed(workspace: Workspace) -> None:
    """A file that was skipped and has changed since is looked at again."""
    add_images(workspace.images, range(3))
    mended = workspace.images / "mended.png"
    mended.write_bytes(b"")
    workspace.prepare()

    noise(9).save(mended)
    workspace.prepare()

    assert paths_of(["mended.png"]) <= workspace.ids().keys()


@pytest.mark.parametrize(("max_bad", "status"), [("2", 1), ("3", 0)])
def test_too_many_bad_files_fail_the_run(workspace: Workspace, max_bad: str, status: int) -> None:
    """Above --max-bad the exit status is not 0; the good images are indexed all the same."""
    add_images(workspace.images, range(3))
    for name in "abc":
        (workspace.images / f"{name}.png").write_bytes(b"broken")

    done = workspace.run("--max-bad", max_bad)

    assert status == done.returncode, done.stderr
    assert len(workspace.ids()) == 3


def test_nothing_but_bad_files_is_an_error_that_tells_them(workspace: Workspace) -> None:
    """With no good image there is no index; the output says so, and what was skipped and why."""
    (workspace.images / "text.png").write_text("not an image")

    done = workspace.run()

    assert done.returncode == 2
    assert "no images to index" in done.stderr
    assert "images/text.png: not an image in a format that is read" in done.stdout
    assert workspace.current() is None


def test_special_files_named_outright_are_skipped(workspace: Workspace) -> None:
    """A device and a FIFO given on the command line are not read from."""
    add_images(workspace.images, range(1))
    os.mkfifo(workspace.root / "fifo")

    told = workspace.prepare("images", "/dev/zero", "fifo")

    assert "skipped /dev/zero: not a regular file" in told
    assert "skipped fifo: not a regular file" in told


def test_a_huge_image_costs_no_memory(workspace: Workspace) -> None:
    """400 million declared pixels are refused by the header, also with memory for none of them."""
    for number in range(8):
        path = workspace.images / f"{number}.png"
        path.write_bytes(png_header(20_000, 20_000) + bytes([number]))
    add_images(workspace.images, range(3))

    done = workspace.limited("--data=1500000000")

    assert done.returncode == 0, done.stderr
    assert "3 images, 11 looked at in this run, 8 skipped" in done.stdout


def test_a_file_of_5_gb_is_not_read(workspace: Workspace) -> None:
    """It is skipped for its size, with memory for none of it."""
    add_images(workspace.images, range(1))
    (workspace.images / "film.jpg").touch()
    os.truncate(workspace.images / "film.jpg", 5 * 10**9)  # sparse: it takes no space

    done = workspace.limited("--data=1500000000")

    assert done.returncode == 0, done.stderr
    assert "skipped images/film.jpg: over 536870912 bytes" in done.stdout


def test_copies_of_an_image_are_all_indexed(workspace: Workspace) -> None:
    """Duplicates are images of their own, told apart by their paths."""
    (path,) = add_images(workspace.images, range(1))
    (workspace.images / "copy.png").write_bytes(path.read_bytes())

    workspace.prepare()

    assert paths_of([path.name, "copy.png"]) == workspace.ids().keys()


def test_an_unreadable_file_is_skipped_until_it_can_be_read(workspace: Workspace) -> None:
    """Without permission it is skipped with that reason; with it, the next run takes it."""
    (path,) = add_images(workspace.images, range(1))
    add_images(workspace.images, range(1, 3))
    path.chmod(0)

    done = workspace.unprivileged()
    assert (0, "") == (done.returncode, done.stderr.partition("Traceback")[1])
    assert "Permission denied" in done.stdout

    path.chmod(0o600)
    workspace.prepare()
    assert len(workspace.ids()) == 3
