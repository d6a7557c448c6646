"""Images and thumbnails come from indexed files alone, and as nothing but images."""

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from werkzeug.http import parse_options_header

from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import Cluster, children, cluster, with_section
from tests.front.front_client import Reply, assert_problem
from tests.front.pictures import encoded, noise
from tests.memory import small_memory
from tests.raw_photos import dng

PREVIEWED = {
    "photo.heic": ("image/heic", (1600, 1200)),
    "scan.tif": ("image/tiff", (40, 30)),
    "photo.dng": ("image/tiff", (40, 30)),
}
"""What browsers cannot show: the type of the file, and the size of its preview."""
PAGE = b"<script>alert(1)</script>"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Some images, one of them in a file that is called a page, another holding one."""
    collection = Collection(tmp_path_factory.mktemp("served"), images=12, shards=1)
    odd = collection.folder / "odd"
    odd.mkdir()
    (odd / "page.html").write_bytes(encoded(noise(70), "PNG") + PAGE)
    (odd / "script.js").write_bytes(encoded(noise(71), "GIF") + PAGE)
    (odd / "photo.heic").write_bytes(encoded(noise(72, (2000, 1500)), "HEIF"))
    (odd / "scan.tif").write_bytes(encoded(noise(73), "TIFF"))
    (odd / "photo.dng").write_bytes(dng(encoded(noise(74), "JPEG"), noise(74).size))
    names = ("page.html", "script.js", *PREVIEWED)
    (collection.folder / "odd.txt").write_text("".join(f"odd/{name}\n" for name in names))
    collection.config = with_section(collection.config, "Prepare", images=["images", "odd.txt"])
    collection.prepare()
    return collection


@pytest.fixture(scope="module")
def services(collection: Collection) -> Iterator[Cluster]:
    """All services over them; no thumbnail is kept, so that each is made of its file."""
    config = with_section(collection.config, "Front", thumbnail_cache_bytes=0, rendition_bytes=0)
    with cluster(config, 1, collection.folder) as running:
        yield running


@pytest.fixture(scope="module")
def ids(services: Cluster) -> dict[str, str]:
    """The id of each path."""
    hits = services.front.get("/v1/search?text=red&k=100")["hits"]
    return {hit["path"]: hit["id"] for hit in hits}


@pytest.fixture
def one(collection: Collection) -> Iterator[Path]:
    """An image of the collection, which is put back as it was."""
    path = collection.folder / "images/0003.png"
    before = path.read_bytes()
    yield path
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(before)


def replies(services: Cluster, image_id: str) -> list[Reply]:
    """The image of an id, its thumbnail and its preview."""
    path = f"/v1/images/{image_id}"
    paths = (path, f"{path}/thumbnail", f"{path}/preview")
    return [services.front.request("GET", one) for one in paths]


def assert_gone(services: Cluster, image_id: str) -> None:
    for reply in replies(services, image_id):
        assert_problem(reply, 410, "image_gone")


def test_a_link_to_another_file_is_not_followed(
    services: Cluster, ids: dict[str, str], one: Path, tmp_path: Path
) -> None:
    """A file that became a link after indexing: what it leads to is served only if it is equal."""
    image_id, copy = ids["images/0003.png"], tmp_path / "copy.png"
    copy.write_bytes(one.read_bytes())
    for target in (Path("/etc/passwd"), one.with_name("0004.png"), tmp_path, tmp_path / "none"):
        one.unlink()
        one.symlink_to(target)
        assert_gone(services, image_id)
    one.unlink()
    one.symlink_to(copy)
    assert [200, 200, 200] == [reply.status for reply in replies(services, image_id)]


def test_what_is_no_file_is_not_opened(
    services: Cluster, ids: dict[str, str], one: Path, tmp_path: Path
) -> None:
    """Kind J: a pipe would keep a thread for ever, also behind a link; a folder has no bytes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    one.unlink()
    os.mkfifo(one)
    assert_gone(services, ids["images/0003.png"])
    for target in (pipe, Path("/proc/kmsg"), Path("/dev/zero")):
        one.unlink()
        one.symlink_to(target)
        assert_gone(services, ids["images/0003.png"])
    one.unlink()
    one.mkdir()
    assert_gone(services, ids["images/0003.png"])


def test_a_file_of_3_gb_is_not_read(services: Cluster, ids: dict[str, str], one: Path) -> None:
    """Kind J: a file that was made longer is gone, and no memory is taken for it."""
    with one.open("ab") as file:
        file.truncate(3 * 2**30)
    (worker,) = children(services.front.process.pid)
    with small_memory(worker):
        assert_gone(services, ids["images/0003.png"])


def test_a_linked_file_or_folder_that_was_indexed_is_served(
    collection: Collection, tmp_path: Path
) -> None:
    """Prepare has followed the links, so front does."""
    (tmp_path / "album").mkdir()
    shutil.copy(collection.folder / "images/0005.png", tmp_path / "album/a.png")
    shutil.copy(collection.folder / "images/0006.png", tmp_path / "b.png")
    linked = collection.folder / "linked"
    linked.mkdir()
    (linked / "album").symlink_to(tmp_path / "album")
    (linked / "b.png").symlink_to(tmp_path / "b.png")
    (collection.folder / "linked.txt").write_text("linked/album/a.png\nlinked/b.png\n")
    prepare = {"images": ["linked.txt"], "embedding_dir": "e", "index_dir": "i"}
    config = with_section(collection.config, "Prepare", **prepare, path_dir="p", hash_dir="h")
    done = run_forked("prepare/prepare.py", config, cwd=collection.folder)
    assert 0 == done.returncode, done.stderr
    with cluster(config, 1, collection.folder) as services:
        hits = services.front.get("/v1/search?text=red")["hits"]
        assert {"linked/album/a.png", "linked/b.png"} == {hit["path"] for hit in hits}
        for hit in hits:
            assert [200] * 3 == [reply.status for reply in replies(services, hit["id"])]


def test_a_name_with_control_characters_is_served(collection: Collection) -> None:
    """Kind E: they are replaced in `filename`, and encoded in `filename*`."""
    named = collection.folder / "named"
    named.mkdir(exist_ok=True)
    names = ["a\nb.jpg", "\x01\x0b\x7f.png", 'é"\r\n;x: y.png']
    for number, name in enumerate(names):
        noise(80 + number).save(named / name, "PNG")
    prepare = {"images": ["named"], "embedding_dir": "ne", "index_dir": "ni"}
    config = with_section(collection.config, "Prepare", **prepare, path_dir="np", hash_dir="nh")
    assert 0 == run_forked("prepare/prepare.py", config, cwd=collection.folder).returncode
    with cluster(config, 1, collection.folder) as services:
        hits = services.front.get("/v1/search?text=red")["hits"]
        assert {f"named/{name}" for name in names} == {hit["path"] for hit in hits}
        for hit in hits:
            full, *renditions = replies(services, hit["id"])
            assert {200} == {full.status, *(reply.status for reply in renditions)}
            _, options = parse_options_header(full.headers["Content-Disposition"])
            assert hit["path"] == f"named/{options['filename']}"


def test_an_id_does_not_give_another_s_file(
    services: Cluster, ids: dict[str, str], collection: Collection, one: Path
) -> None:
    """Two files that changed places, and ids put together of two, give nothing."""
    other = one.with_name("0004.png")
    before = other.read_bytes()
    shutil.copy(one, other)
    one.write_bytes(before)
    first, second = ids["images/0003.png"], ids["images/0004.png"]
    try:
        assert_gone(services, first)
        assert_gone(services, second)
    finally:
        other.write_bytes(before)
    for mixed in (first[:16] + second[16:], second[:16] + first[16:]):
        for reply in replies(services, mixed):
            assert_problem(reply, 404, "unknown_id")


@pytest.mark.parametrize(
    "path",
    [
        "../config.json",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fimages%2f0003.png",
        "images%2f0003.png",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "....//....//etc/passwd",
        "..%5c..%5cetc%5cpasswd",
        "%00",
        "0" * 32 + "%2f..%2f..",
    ],
)
def test_a_path_is_no_id(services: Cluster, path: str) -> None:
    """Images are asked for by ids; whatever else an address holds is no file's name."""
    for reply in replies(services, path):
        assert reply.status in (400, 404), reply.data
        assert "application/problem+json" == reply.headers["Content-Type"]


def test_an_image_is_what_it_holds_and_not_what_it_is_called(
    services: Cluster, ids: dict[str, str]
) -> None:
    """A picture named like a page or a script, with one in it, is sent as a picture."""
    for path, kind in (("odd/page.html", "image/png"), ("odd/script.js", "image/gif")):
        full, thumbnail, preview = replies(services, ids[path])
        assert PAGE not in preview.data
        assert PAGE in full.data
        assert (kind, "nosniff") == (
            full.headers["Content-Type"],
            full.headers["X-Content-Type-Options"],
        )
        assert "image/jpeg" == thumbnail.headers["Content-Type"]
        assert PAGE not in thumbnail.data


@pytest.mark.parametrize("name", PREVIEWED)
def test_what_browsers_cannot_show_has_a_preview(
    services: Cluster, ids: dict[str, str], collection: Collection, name: str
) -> None:
    """Kind B: HEIC, TIFF and RAW are found, and shown as a JPEG."""
    kind, size = PREVIEWED[name]
    full, thumbnail, preview = replies(services, ids[f"odd/{name}"])

    assert (collection.folder / "odd" / name).read_bytes() == full.data
    assert kind == full.headers["Content-Type"]
    for reply in (thumbnail, preview):
        assert "image/jpeg" == reply.headers["Content-Type"]
    with Image.open(io.BytesIO(preview.data)) as image:
        assert ("JPEG", size) == (image.format, image.size)


def test_only_what_was_indexed_is_in_the_answers(ids: dict[str, Any]) -> None:
    """The files beside the images are in no answer."""
    assert {path.split("/")[0] for path in ids} == {"images", "odd"}
