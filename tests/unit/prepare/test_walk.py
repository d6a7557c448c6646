"""Which files of a folder are images, and what is told of the others (cases of kind B and E)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.images.formats import ENDINGS, HEAD_BYTES
from prepare.walk import OTHER_ENDINGS, ending_of
from tests.unit.prepare.walking import JPEG, nest, walk, write

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_file_is_known_by_its_content_where_its_ending_says_nothing(tmp_path: Path) -> None:
    """Kind B: no ending, another format's ending or an unknown one; the first bytes decide."""
    write(tmp_path, "IMG_1", "phone.jxl", "cloud.jpg_large", "copy.jpg~", "dots...", "photo.tmp")
    write(tmp_path, "IMG_2", "notes.psd", "BMW.note", "drawing.svg", data=b"BMW and other makers")
    write(tmp_path, "logo", data=b"BM" + bytes(12) + b"\x28\0\0\0")

    walked = walk(tmp_path)

    taken = ["IMG_1", "cloud.jpg_large", "copy.jpg~", "dots...", "logo", "phone.jxl", "photo.tmp"]
    assert taken == walked.taken
    told = {name: one.detail for name, one in walked.left_out.items()}
    assert told == {"IMG_2": "", "notes.psd": ".psd", "BMW.note": ".note", "drawing.svg": ".svg"}
    assert {"ending"} == {one.kind for one in walked.left_out.values()}


def test_an_image_s_ending_is_believed(tmp_path: Path) -> None:
    """Such a file is taken as it is: whoever reads it tells what is wrong with it."""
    names = sorted(f"x{ending.upper()}" for ending in ENDINGS)
    write(tmp_path, *names, data=b"not an image")
    os.mkfifo(tmp_path / "y.jpg")

    assert [*names, "y.jpg"] == walk(tmp_path).taken


def test_other_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind B: a text or a film is not opened; of an unknown file the first bytes are read."""
    write(tmp_path, "film.mp4", "note.txt", "page.html", "table.csv", "archive.zip")
    write(tmp_path, "unknown", "catalogue.lrcat", data=b"x" * 10**6)
    opened: list[str] = []
    sizes: list[int] = []
    real_open, real_read = os.open, os.read

    def count_open(path: str, flags: int) -> int:
        opened.append(Path(path).name)
        return real_open(path, flags)

    def count_read(file: int, size: int) -> bytes:
        sizes.append(size)
        return real_read(file, size)

    monkeypatch.setattr(os, "open", count_open)
    monkeypatch.setattr(os, "read", count_read)
    walked = walk(tmp_path)

    assert [] == walked.taken
    assert ["catalogue.lrcat", "unknown"] == opened
    assert [HEAD_BYTES] * 2 == sizes
    assert {".mp4", ".txt", ".html", ".csv", ".zip"} <= OTHER_ENDINGS


def test_special_files_are_left_out_and_never_waited_for(tmp_path: Path) -> None:
    """A FIFO without an ending has no first bytes."""
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, "a.jpg")

    walked = walk(tmp_path)

    assert ["a.jpg"] == walked.taken
    assert "special" == walked.left_out["pipe"].kind


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Kind B: with the reason; the others are walked."""
    write(tmp_path, "good/a.jpg")
    walked = walk(tmp_path, "good", "gone")

    assert ["good/a.jpg"] == walked.taken
    assert ("error", "No such file or directory") == walked.left_out["gone"][1:]


ODD = [
    b"a\nb.jpg",
    b"\x01\x0b\x7f.jpg",
    b"\xff\xfe.jpg",
    b"....jpg",
    b"   .jpg",
    b" ",
    b"\xe2\x80\xae.jpg",
]


def test_odd_names_are_names(tmp_path: Path) -> None:
    """Kind E: line ends, control characters, invalid UTF-8, dots and blanks, in folders too."""
    for name in ODD:
        folder = os.fsencode(tmp_path) + b"/folder " + name
        Path(os.fsdecode(folder)).mkdir()
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(JPEG)

    walked = walk(tmp_path, exclude=["._*"])

    assert sorted(b"folder " + name + b"/" + name for name in ODD) == sorted(
        map(os.fsencode, walked.taken)
    )


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed by rm, as Python's own way is not made for such a depth."""
    yield tmp_path
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


def test_a_thousand_folders_in_each_other_are_walked(deep: Path) -> None:
    """Kind B: recursion has no part in it."""
    nest(deep, "d", 1000)

    assert ["d/" * 1000 + "end.jpg"] == walk(deep).taken


def test_a_path_that_is_too_long_ends_no_run(deep: Path) -> None:
    """Kind B: no call takes 4,096 bytes; the folder is told, the others are walked."""
    nest(deep, "d" * 200, 25)
    write(deep, "e.jpg")

    walked = walk(deep)

    assert ["e.jpg"] == walked.taken
    assert [("error", "File name too long")] == [one[1:] for one in walked.left_out.values()]


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.JPG", ".jpg"),
        ("a", ""),
        (".jpg", ""),
        ("a.", ""),
        ("a.b/c", ""),
        ("on 2020.01.05 at home", ""),
        ("a.\n", ""),
        ("a.jpg~", ".jpg~"),
    ],
)
def test_an_ending_is_short_and_one_word(name: str, ending: str) -> None:
    """What follows the last dot of a sentence is none."""
    assert ending == ending_of(name)
