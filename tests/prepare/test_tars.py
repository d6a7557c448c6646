"""Tars of images, as webdataset and img2dataset write them: prepared, searched, served."""

import io
import os

from PIL import Image

from devtools.services import cluster
from tests.front.front_client import ask
from tests.prepare.prepared_folder import Workspace, noise
from tests.prepare.test_absence import OFFLINE
from tests.unit.common.test_image_files import write_tar


def picture(seed: int) -> bytes:
    """An image file."""
    file = io.BytesIO()
    noise(seed, 40, 40).save(file, "PNG")
    return file.getvalue()


def test_a_tar_is_prepared_searched_and_served(workspace: Workspace) -> None:
    """Images and thumbnails come out of it; written again, nothing is embedded twice."""
    files = {f"{number:03}.png": picture(number) for number in range(6)}
    files |= {f"{number:03}.txt": f"number {number}".encode() for number in range(6)}
    tar = write_tar(workspace.root / "shards-0.tar", files)
    assert "6 images, 6 looked at" in workspace.prepare("add", tar.name)

    with cluster(workspace.config, 1, workspace.root) as services:
        (hit,) = ask(services, image=files["003.png"], k=1).json()["hits"]
        assert ("shards-0.tar/003.png", "number 3") == (hit["path"], hit["metadata"]["caption"])
        at = f"/v1/images/{hit['id']}"
        assert files["003.png"] == services.front.request("GET", at).data
        small = services.front.request("GET", f"{at}/thumbnail").data
        assert (40, 40) == Image.open(io.BytesIO(small)).size

    del files["000.png"]
    files["100.png"] = picture(100)
    os.utime(write_tar(tar, files), ns=(10**18, 10**18))
    assert "6 images" in workspace.prepare()
    assert 7 == workspace.embedded()
    assert "shards-0.tar/100.png" in workspace.ids()


def test_a_damaged_tar_hides_its_images(workspace: Workspace) -> None:
    """They stay searchable, offline; a new one is refused, as is one that is compressed."""
    files = {f"{number:03}.png": picture(number) for number in range(3)}
    tar = write_tar(workspace.root / "a.tar", files)
    workspace.prepare("add", tar.name)
    whole = tar.read_bytes()
    tar.write_bytes(whole[:4000])
    assert "no whole tar" in workspace.prepare(status=OFFLINE)

    assert {f"a.tar/{name}" for name in files} == workspace.offline()
    (workspace.root / "b.tar").write_bytes(whole[:4000])
    assert "b.tar: no whole tar" in workspace.prepare("add", "b.tar", status=2)
    (workspace.root / "c.tar.gz").write_bytes(whole)
    assert "c.tar.gz is compressed: unpack it" in workspace.prepare("add", "c.tar.gz", status=2)
