"""Index versions: swapped under load without an error, refused when they are not whole."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import cluster, free_ports, hanging, run_command, running, with_section
from devtools.tiny_model import write_tiny_model
from search.manifest import read_current
from tests.chaos.damage import ask, flip, folders_of, index_file
from tests.chaos.swaps import asking, beside, follow, replicated, swaps, until_line

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


def test_versions_are_swapped_again_and_again(tmp_path: Path) -> None:
    """New ones, a bad one, and back: each answer full, and right for the version that it names."""
    assert swaps(tmp_path, 4) > 50


def harmed_beside(folder: Path) -> str:
    """A folder `beside` data/index with garbage for the manifest of v000002."""
    name = beside(folder)
    harmed = folder / name / "v000002/MANIFEST"
    harmed.unlink()
    harmed.write_bytes(b"garbage")
    return name


def test_a_version_that_one_server_refuses_is_taken_back(collection: Collection) -> None:
    """prepare says who refused it and why; every answer was full, and from the version before."""
    folder = collection.folder
    with replicated(collection, 1, {(1, 0): {"index_dir": harmed_beside(folder)}}) as system:
        with asking(system), ThreadPoolExecutor() as pool:
            system.until("v000001")
            collection.write_images(range(40, 60))
            preparing = pool.submit(
                run_command, "prepare/prepare.py", collection.config, cwd=folder
            )
            until_line(system.search[0], "version v000002")
            follow(folder)  # the other refuses it when the first has it
            done = preparing.result()
            current = read_current(folders_of(folder))
            system.until("v000001")

        assert 2 == done.returncode
        line = done.stderr.splitlines()[-1]
        assert f"error: {system.search[1].address} refused v000002: " in line
        assert "v000002/MANIFEST" in line
        assert line.endswith("; v000001 is in use again")
        assert current is not None
        assert "v000001" == current.now.version
        assert {"v000001"} == {asked.answer["index_version"] for asked in system.asked}
        for number in range(40, 60):
            (folder / f"images/{number:04}.png").unlink()
        system.learn("version v000001:")
        system.check()


def test_a_server_that_starts_takes_the_version_before_a_bad_one(collection: Collection) -> None:
    """Where CURRENT names what cannot be loaded there is an answer nevertheless, and a reason."""
    collection.write_images(range(40, 60))
    collection.prepare()
    harmed = index_file(folders_of(collection.folder), "v000002", 1)
    flip(harmed, np.random.default_rng(0))
    config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"])
    with running("search/search.py", config, cwd=collection.folder) as service:
        assert "v000001" == ask(service).version
        assert 200 == service.request("GET", "/ready").status
        until_line(service, harmed.name)


def test_another_model_waits_for_a_new_start(collection: Collection) -> None:
    """prepare says so and takes nothing back; the running server keeps what its model made."""
    folder, address = collection.folder, f"127.0.0.1:{free_ports(1)[0]}"
    config = with_section(collection.config, "Search", server_list=[address], reload_s=0.2)
    write_tiny_model(folder / "other", seed=1)
    with running("search/search.py", config, cwd=folder) as service:
        other = with_section(config, "Inference", clip="other")
        done = run_forked("prepare/prepare.py", other, cwd=folder)
        until_line(service, "of another model")

        assert 0 == done.returncode, done.stderr
        assert f"{address} answers from v000001 until it is started anew" in done.stderr
        assert "v000001" == ask(service).version
    with running("search/search.py", config, cwd=folder) as service:
        assert "v000002" == ask(service).version


def test_one_command_goes_back_and_again_forth(collection: Collection) -> None:
    """rollback.py puts the version before in use, checked; the first version has none."""
    folder, folders = collection.folder, folders_of(collection.folder)
    alone = run_forked("prepare/rollback.py", collection.config, cwd=folder)
    collection.write_images(range(40, 60))
    collection.prepare()
    back, forth = (
        run_forked("prepare/rollback.py", collection.config, cwd=folder) for _ in range(2)
    )
    flip(path := index_file(folders, "v000001", 1), np.random.default_rng(0))
    harmed = run_forked("prepare/rollback.py", collection.config, cwd=folder)
    current = read_current(folders)

    assert 2 == alone.returncode
    assert "no previous version to put in use" in alone.stderr
    assert "version v000001: 40 images\n" == back.stdout
    assert "version v000002: 60 images\n" == forth.stdout
    assert 2 == harmed.returncode
    assert path.name in harmed.stderr
    assert current is not None
    assert "v000002" == current.now.version


def test_a_server_that_lags_is_not_torn(collection: Collection) -> None:
    """Its version's files are deleted while it hangs: it answers from them, then takes the newest.

    What it has mapped stays readable, as no file is ever cut or written again.
    """
    config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"], reload_s=0.2)
    extra = ("--index", "0,1")
    with running("search/search.py", config, *extra, cwd=collection.folder) as service:
        before = ask(service)
        with hanging(service):
            for number in range(40, 43):
                collection.write_images(range(number, number + 1))
                collection.prepare()
            assert not (collection.folder / "data/index/v000001").exists()
        first = ask(service)
        until_line(service, "version v000004")

        assert first.version in ("v000001", "v000004")
        assert first.version != "v000001" or first == before
        assert "v000004" == ask(service).version


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
        until_line(services.search[0], "v000001")

        assert len(services.front.post("/v1/search", {"text": "red"})["hits"]) == 5
