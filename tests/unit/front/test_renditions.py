"""Renditions in memory: kept while their file is as it was."""

import os
from pathlib import Path

import pytest

from common.errors import Gone
from common.files import content_hash
from common.images.renditions import RenditionFolder
from front.renditions import Renditions
from tests.front.pictures import encoded, noise


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image of the collection."""
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(noise(size=(80, 60)), "PNG"))
    return path


def renditions(folder: Path, kept_bytes: int = 0) -> Renditions:
    return Renditions(10**6, 10**6, RenditionFolder(folder / "kept", kept_bytes))


def id_of(path: Path) -> str:
    return content_hash(path.read_bytes()) + 16 * "0"


@pytest.mark.parametrize("kept_bytes", [0, 10**6])
def test_a_rendition_goes_with_its_file(picture: Path, kept_bytes: int) -> None:
    """Kind C: what is in memory or on the disk is not shown once the file is gone or another."""
    ours, image_id = renditions(picture.parent, kept_bytes), id_of(picture)
    jpeg = ours.make(image_id, 32, picture)
    assert jpeg == ours.get(image_id, 32)
    assert ours.get(image_id, 33) is None

    picture.write_bytes(encoded(noise(1), "PNG"))
    assert ours.get(image_id, 32) is None
    with pytest.raises(Gone):
        ours.make(image_id, 32, picture)
    picture.unlink()
    assert ours.get(image_id, 32) is None
    with pytest.raises(Gone):
        ours.make(image_id, 32, picture)


def test_the_disk_is_asked_before_an_image_is_decoded(picture: Path) -> None:
    """After a restart, and by other workers."""
    image_id, status = id_of(picture), picture.stat()
    first = renditions(picture.parent, 10**6).make(image_id, 32, picture)
    picture.write_bytes(bytes(status.st_size))  # so that whoever decodes it fails
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert first == renditions(picture.parent, 10**6).make(image_id, 32, picture)


def test_a_broken_file_is_gone(picture: Path) -> None:
    """One whose bytes are those of the id, and no picture."""
    picture.write_bytes(b"no picture")

    with pytest.raises(Gone, match="broken"):
        renditions(picture.parent).make(id_of(picture), 32, picture)
