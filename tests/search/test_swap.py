"""Index versions: swapped under load without an error, refused when they are not whole."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.collection import Collection
from tests.services import Service, cluster, with_section

WAIT_S = 30


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """40 images in two shards."""
    return Collection(tmp_path, images=40, shards=2)


class Asker:
    """Asks middle again and again in a thread, and keeps every reply."""

    def __init__(self, services: Any) -> None:
        self.replies: list[Any] = []
        self._services = services
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Asker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def until_version(self, version: str) -> None:
        """Wait for an answer from a version."""
        for _ in range(WAIT_S * 20):
            if self.replies and self.replies[-1].json().get("index_version") == version:
                return
            self._stop.wait(0.05)
        raise AssertionError(f"no answer from {version}: {self.replies[-1].data}")

    def _ask(self) -> None:
        message = {"text": "a red square", "k": 100, "require_full": True}
        while not self._stop.is_set():
            self.replies.append(self._services.middle.request("POST", "/search", json=message))


def test_a_new_version_is_taken_without_an_error(collection: Collection) -> None:
    """While CURRENT changes every answer is full and all of one version; then the new one."""
    config = with_section(collection.config, "Middle", cache="off")
    with cluster(config, 2, collection.folder) as services, Asker(services) as asker:
        asker.until_version("v000001")
        collection.write_images(range(40, 60))
        (collection.folder / "images/0003.png").unlink()
        collection.prepare()
        asker.until_version("v000002")

    expected = {"v000001": 40, "v000002": 59}
    for reply in asker.replies:
        assert reply.status == 200, reply.data
        answer = reply.json()
        assert expected[answer["index_version"]] == len(answer["hits"])


def test_a_damaged_version_is_refused_and_the_old_one_stays(collection: Collection) -> None:
    """With a byte flipped in the new version, the server says why and answers from the old one."""
    folder = collection.folder / "data/index"
    with cluster(collection.config, 2, collection.folder) as services:
        for kind in ("index", "paths", "hashes"):
            data = collection.folder / "data" / kind
            shutil.copytree(data / "v000001", data / "v000002")
        manifest = folder / "v000002/MANIFEST"
        manifest.write_text(manifest.read_text().replace("v000001", "v000002"))
        flip_a_byte(folder / "v000002/shard-000.hnsw")
        (folder / "CURRENT.new").write_text("v000002")
        (folder / "CURRENT.new").replace(folder / "CURRENT")
        wait_for_line(services.search[0], "refused")

        answer = services.front.post("/v1/search", {"text": "red", "k": 100})

    assert (answer["index_version"], len(answer["hits"])) == ("v000001", 40)
    assert not answer["coverage"]["degraded"]
    (line,) = [line for line in services.search[0].output if "refused" in line]
    assert "shard-000.hnsw" in line


def flip_a_byte(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def wait_for_line(service: Service, word: str) -> None:
    """Wait until a service has logged a line with a word."""
    for _ in range(WAIT_S * 20):
        if any(word in line for line in service.output):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"no line with {word}: {service.output}")


def test_a_server_without_an_index_is_not_ready_and_then_is(tmp_path: Path) -> None:
    """Started before the first prepare it says so, and takes the index when it comes."""
    collection = Collection(tmp_path, images=5, shards=1)
    (tmp_path / "data").rename(tmp_path / "later")
    with cluster(collection.config, 1, tmp_path) as services:
        response = services.front.request("POST", "/v1/search", json={"text": "red"})
        assert (response.status, response.json()["code"]) == (503, "no_index")
        assert services.search[0].request("GET", "/ready").status == 503
        assert services.search[0].request("GET", "/healthz").status == 200
        (tmp_path / "later").rename(tmp_path / "data")
        wait_for_line(services.search[0], "v000001")

        assert len(services.front.post("/v1/search", {"text": "red"})["hits"]) == 5
