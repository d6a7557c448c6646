"""Renditions on the disk: found while their file is as it was, and bounded in bytes."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from common.image_files import state_of
from common.images.renditions import PART, RenditionFolder, render
from tests.front.pictures import encoded, noise
from tests.unit.common.images.shown import MAX_PIXELS

JPEG = b"\xff\xd8" + bytes(996) + b"\xff\xd9"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A file that renditions are made of."""
    path = tmp_path / "original"
    path.write_bytes(b"12345")
    return path


def id_of(number: int) -> str:
    return f"{number * 0x1000000:032x}"[::-1]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.jpg"))


def test_a_rendition_keeps_the_shape() -> None:
    """Its longer side is as told, or the image's own."""
    for size, pixels, expected in (((800, 600), 320, (320, 240)), ((40, 30), 320, (40, 30))):
        data = render(encoded(noise(size=size), "PNG"), pixels, MAX_PIXELS)
        assert expected == Image.open(io.BytesIO(data)).size


def test_what_is_kept_is_found_by_all_processes(tmp_path: Path, original: Path) -> None:
    """By id, size, and the status of the file."""
    RenditionFolder(tmp_path / "kept", 10**6).put(id_of(1), 320, state_of(original), JPEG)
    other = RenditionFolder(tmp_path / "kept", 10**6)

    assert JPEG == other.get(id_of(1), 320, state_of(original))
    assert other.get(id_of(2), 320, state_of(original)) is None
    assert other.get(id_of(1), 1600, state_of(original)) is None


def test_a_rendition_of_a_changed_file_is_not_found(tmp_path: Path, original: Path) -> None:
    """Of another time or size."""
    folder = RenditionFolder(tmp_path / "kept", 10**6)
    folder.put(id_of(1), 320, state_of(original), JPEG)
    time_ns = original.stat().st_mtime_ns

    os.utime(original, ns=(time_ns, time_ns + 1))
    assert folder.get(id_of(1), 320, state_of(original)) is None
    original.write_bytes(b"123456")
    os.utime(original, ns=(time_ns, time_ns))
    assert folder.get(id_of(1), 320, state_of(original)) is None


def test_a_rendition_that_is_cut_is_not_found(tmp_path: Path, original: Path) -> None:
    """After a loss of power a file may be empty."""
    folder = RenditionFolder(tmp_path / "kept", 10**6)
    folder.put(id_of(1), 320, state_of(original), JPEG)
    (path,) = (tmp_path / "kept").rglob("*.jpg")

    path.write_bytes(JPEG[:500])
    os.utime(path, ns=(0, original.stat().st_mtime_ns))

    assert folder.get(id_of(1), 320, state_of(original)) is None


def test_the_folder_is_bounded(tmp_path: Path, original: Path) -> None:
    """Of a hundred the last used are kept, also by two processes; each may add its part."""
    limit = 20 * len(JPEG)
    folders = [RenditionFolder(tmp_path / "kept", limit) for _ in range(2)]
    for number in range(100):
        folders[number % 2].put(id_of(number), 320, state_of(original), JPEG)
        assert folders[0].get(id_of(0), 320, state_of(original))  # it is used all the time
        assert size_of(tmp_path) <= limit + 2 * (limit // PART + len(JPEG))

    assert folders[0].get(id_of(99), 320, state_of(original))
    assert folders[0].get(id_of(50), 320, state_of(original)) is None


def test_a_disk_that_takes_nothing_is_told_once(
    tmp_path: Path, original: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rendition is shown all the same."""
    (tmp_path / "kept").write_text("a file, no folder")
    folder = RenditionFolder(tmp_path / "kept", 10**6)
    for _ in range(2):
        folder.put(id_of(1), 320, state_of(original), JPEG)

    assert folder.get(id_of(1), 320, state_of(original)) is None
    assert 1 == len(caplog.records)


def test_a_limit_of_0_keeps_nothing(tmp_path: Path, original: Path) -> None:
    """And makes no folder."""
    folder = RenditionFolder(tmp_path / "kept", 0)
    folder.put(id_of(1), 320, state_of(original), JPEG)

    assert folder.get(id_of(1), 320, state_of(original)) is None
    assert not (tmp_path / "kept").exists()
