"""The folder of uploads: what is kept, what goes with its image, and what is never touched."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from common.config import parse
from common.errors import BadRequest, NotFound, ServiceError, Unavailable, UnsupportedMedia
from common.files import content_hash, location_hash
from common.roots import Root, Roots
from common.uploads import ASIDE, Uploads
from prepare.roots import write_roots
from tests.front.pictures import encoded, noise

DATA = encoded(noise(), "PNG")
NAME = f"data/uploads/{content_hash(DATA)}.png"
FAILED = Unavailable("the log hangs", "log_unavailable")
UNKNOWN = NotFound("no image has this id", "unknown_id")


def uploads(folder: Path, config: bytes = b"{}") -> Uploads:
    return Uploads(parse(config), folder)


def id_of(path: str, data: bytes = DATA) -> str:
    return f"{content_hash(data)}{location_hash(path):016x}"


def files(folder: Path) -> list[Path]:
    return sorted((folder / "data/uploads").iterdir())


async def delete(given: Uploads, image_id: str, error: Exception | None = None) -> None:
    """Delete an image, or fail."""
    async with given.deleting(image_id):
        if error:
            raise error


async def put(given: Uploads, error: Exception | None = None) -> None:
    """Put the image, or fail."""
    async with given.putting(given.keep(DATA)):
        if error:
            raise error


def test_an_upload_is_kept_once_under_its_content(tmp_path: Path) -> None:
    """By as many as send it at the same time; a broken file is repaired."""
    given = uploads(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(given.keep, [DATA] * 8))

    (file,) = files(tmp_path)
    assert file.read_bytes() == DATA
    assert {one.path for one in placed} == {NAME}
    assert not given.keep(DATA).is_new
    file.write_bytes(b"broken")
    assert given.keep(DATA).is_new
    assert file.read_bytes() == DATA


def test_what_is_no_image_is_not_kept(tmp_path: Path) -> None:
    """By its first bytes; middle decodes the rest."""
    with pytest.raises(UnsupportedMedia):
        uploads(tmp_path).keep(b"<svg>")
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """And the answer does not say where it is."""
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(Unavailable) as told:
        uploads(tmp_path).keep(DATA)
    assert str(tmp_path) not in told.value.detail


async def test_a_refused_image_is_kept_only_if_it_was_there(tmp_path: Path) -> None:
    """And while nobody knows whether it was put."""
    given = uploads(tmp_path)
    with pytest.raises(BadRequest):
        await put(given, BadRequest("too long"))
    assert files(tmp_path) == []
    with pytest.raises(Unavailable):
        await put(given, FAILED)
    assert files(tmp_path) == [tmp_path / NAME]
    with pytest.raises(BadRequest):
        await put(given, BadRequest("too long"))
    assert files(tmp_path) == [tmp_path / NAME]


@pytest.mark.parametrize(
    ("error", "stays"), [(None, False), (UNKNOWN, False), (FAILED, True), (KeyError(), True)]
)
async def test_an_upload_goes_with_its_image(
    tmp_path: Path, error: Exception | None, stays: bool
) -> None:
    """Also with one that a repeated deletion does not find; it stays if that fails."""
    given = uploads(tmp_path)
    given.keep(DATA)
    with suppress(KeyError, ServiceError):
        await delete(given, id_of(NAME), error)
    assert files(tmp_path) == ([tmp_path / NAME] if stays else [])


async def test_a_deletion_that_was_killed_is_repeated(tmp_path: Path) -> None:
    """Its file was set aside."""
    given = uploads(tmp_path)
    given.keep(DATA)
    (tmp_path / NAME).rename(tmp_path / f"{NAME}{ASIDE}")
    with pytest.raises(NotFound):
        await delete(given, id_of(NAME), UNKNOWN)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "image_id",
    [
        *(id_of("photos/a.png"), id_of(NAME.removeprefix("data/")), id_of(NAME, b"other")),
        *("", "x" * 32, "../../photos/a.p", f"../{id_of(NAME)}", id_of(NAME).upper()),
        *(f"{id_of(NAME)}\n", f"{id_of(NAME)}/", "*" * 16 + id_of(NAME)[16:]),
    ],
)
async def test_no_other_file_is_touched(tmp_path: Path, image_id: str) -> None:
    """An equal file at another path is another image; an id is no path."""
    given = uploads(tmp_path)
    given.keep(DATA)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(DATA)
    await delete(given, image_id)

    assert files(tmp_path) == [tmp_path / NAME]
    assert (tmp_path / "photos/a.png").exists()


@pytest.mark.parametrize("root", [".", "data", "data/uploads", "link", "{folder}/data"])
async def test_what_lies_below_a_root_is_its_owner_s(tmp_path: Path, root: str) -> None:
    """Whether config.json names the root or prepare was told it."""
    given = uploads(tmp_path)
    given.keep(DATA)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    root = root.format(folder=tmp_path)
    await delete(
        uploads(tmp_path, f'{{"Prepare": {{"images": ["{root}"]}}}}'.encode()), id_of(NAME)
    )
    assert files(tmp_path) == [tmp_path / NAME]
    (tmp_path / "data/embeddings").mkdir()
    write_roots(tmp_path / "data/embeddings", Roots((Root(root),), ()))
    await delete(given, id_of(NAME))
    assert files(tmp_path) == [tmp_path / NAME]


async def test_uploads_may_lie_elsewhere(tmp_path: Path) -> None:
    """In a folder outside that of config.json, whose images have absolute paths."""
    folder = tmp_path / "shared"
    config = f'{{"Live": {{"upload-dir": "{folder}"}}}}'.encode()
    given = uploads(tmp_path / "here", config)
    kept = given.keep(DATA)
    assert kept.path == str(folder / Path(NAME).name)
    await delete(given, id_of(kept.path))
    assert list(folder.iterdir()) == []
