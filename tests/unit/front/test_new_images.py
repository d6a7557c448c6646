"""The files of images that are put: where they may lie."""

from pathlib import Path
from typing import Any

import pytest

from common.config import parse
from common.errors import BadRequest, TooLarge
from common.roots import Root, Roots
from common.uploads import Placed
from front.new_images import NewImages
from front.write_requests import NewImage
from prepare.roots import write_roots
from tests.front.pictures import encoded, noise

DATA = encoded(noise(), "PNG")
CONFIG = b"""{"Prepare": {"images": ["photos", "/elsewhere/album"]},
              "Front": {"max-body-bytes": 100000}}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of config.json, with a photo in the collection, and files beside it."""
    (tmp_path / "photos/2024").mkdir(parents=True)
    (tmp_path / "photos/2024/a.png").write_bytes(DATA)
    (tmp_path / "photos/large.png").write_bytes(DATA + bytes(100_000))
    (tmp_path / "photos/empty.png").touch()
    (tmp_path / "photos-of-others").mkdir()
    (tmp_path / "photos-of-others/a.png").write_bytes(DATA)
    (tmp_path / "secret.png").write_bytes(DATA)
    return tmp_path


def images(folder: Path, config: bytes = CONFIG) -> NewImages:
    return NewImages(parse(config), folder)


def find(folder: Path, path: str, **config: Any) -> Placed:
    return images(folder, **config).place(NewImage(path=path))


def test_a_file_of_the_collection_has_the_path_that_prepare_gives_it(folder: Path) -> None:
    """However it is written."""
    whole = f"{folder}/photos/2024/a.png"
    for path in ("photos/2024/a.png", whole, f"/{whole}", "photos/./x/../2024//a.png"):
        found = find(folder, path)
        assert found[:3] == (DATA, "photos/2024/a.png", 0)
        assert set(found.facts) == {"size", "modified"}


def test_what_was_added_on_the_command_line_is_of_the_collection(folder: Path) -> None:
    """Its told path begins with the name of its root."""
    root = folder.parent / f"{folder.name}-album"
    root.mkdir()
    (root / "b.png").write_bytes(DATA)
    with pytest.raises(BadRequest):
        find(folder, f"{root}/b.png")
    (folder / "data/embeddings").mkdir(parents=True)
    write_roots(folder / "data/embeddings", Roots((Root(str(root)),), ()))
    found = find(folder, f"{root}/b.png")

    assert found.path == f"{root}/b.png"
    assert found.path[found.told_from :] == f"{root.name}/b.png"


@pytest.mark.parametrize(
    "path",
    [
        *("", "a\0b", "x" * 5000, "/etc/passwd", "secret.png", "photos/../secret.png"),
        *("photos-of-others/a.png", "..", "/", "photos/link.png", "photos/folder/a.png"),
        *("photos", "photos/none.png", "photos/empty.png", "/elsewhere/album/a.png", "~/a.png"),
    ],
)
def test_nothing_else_is_read(folder: Path, path: str) -> None:
    """Nor what a link in the collection leads to; the answer tells no place."""
    (folder / "photos/link.png").symlink_to(folder / "secret.png")
    (folder / "photos/folder").symlink_to(folder / "photos-of-others")
    with pytest.raises(BadRequest) as told:
        find(folder, path)

    assert str(folder) not in told.value.detail


def test_links_are_followed_where_prepare_follows_them(folder: Path) -> None:
    """By the same key."""
    (folder / "photos/link.png").symlink_to(folder / "secret.png")
    config = CONFIG.replace(b'{"images"', b'{"follow-links": true, "images"')

    assert find(folder, "photos/link.png", config=config).path == "photos/link.png"


def test_a_file_is_no_larger_than_an_upload(folder: Path) -> None:
    """Since it goes to middle in a message."""
    with pytest.raises(TooLarge, match="100000"):
        find(folder, "photos/large.png")


def test_an_upload_may_be_put_by_its_path(folder: Path) -> None:
    """It is the same image then."""
    new = images(folder)
    kept = new.place(NewImage(image=DATA))

    assert find(folder, kept.path)[:3] == kept[:3]
