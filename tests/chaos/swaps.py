"""Index versions swapped again and again, good and bad, beside queries that are all checked."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.wire import Matrix
from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import Service, free_ports, running, with_section
from devtools.tiny_model import DIM
from search.manifest import Current, read_current, write_current
from tests.chaos.damage import copy_version, delete_copy, files_of_copy, flip, folders_of

K = 10
ASKERS = 4
WAIT_S = 60


class Truth(NamedTuple):
    """All images of a version, by path, and their vectors."""

    paths: list[str]
    vectors: Matrix


class Asked(NamedTuple):
    """A query and how it was answered."""

    vector: Matrix
    status: int
    answer: dict[str, Any]


@dataclass
class System:
    """Two search servers of two replicas, and middle in front of them, over a collection."""

    collection: Collection
    search: list[Service]
    middle: Service
    truths: dict[str, Truth] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    """What was asked and not yet checked."""
    answers: int = 0
    """How many were right."""

    def learn(self, told: str) -> str:
        """Note what the collection is now as what a version holds; gives the version's name."""
        named = re.search(r"version (v\d+):", told)
        assert named, told
        self.truths[named[1]] = Truth(self.collection.paths(), self.collection.vectors())
        return named[1]

    def until(self, version: str) -> None:
        """Wait until a version answers."""
        for _ in range(WAIT_S * 20):
            if self.asked and self.asked[-1].answer.get("index_version") == version:
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"{version} never answered: {self.asked[-1]}")

    def check(self) -> None:
        """Check all answers by brute force over the version that each names."""
        while self.asked:
            vector, status, answer = self.asked.pop()
            assert status == 200, answer
            assert not answer["coverage"]["degraded"], answer
            truth = self.truths[answer["index_version"]]
            scores = dict(zip(truth.paths, (truth.vectors @ vector).tolist(), strict=True))
            hits = {hit["path"]: hit["score"] for hit in answer["hits"]}
            best = sorted(scores.values(), reverse=True)[:K]
            assert set(hits) <= set(scores), answer
            np.testing.assert_allclose(list(hits.values()), best, atol=1e-4)
            np.testing.assert_allclose([scores[path] for path in hits], best, atol=1e-4)
            self.answers += 1

    def ask(self, stop: threading.Event, seed: int) -> None:
        """Ask for the nearest of random vectors until told to stop."""
        chance = np.random.default_rng(seed)
        while not stop.is_set():
            vector = chance.standard_normal(DIM)
            vector /= np.linalg.norm(vector)
            message = {"embedding": vector.tolist(), "k": K, "dedup": "none", "require_full": True}
            reply = self.middle.request("POST", "/search", json=message)
            self.asked.append(Asked(vector.astype(np.float32), reply.status, reply.json()))
            stop.wait(0.005)


@contextmanager
def asking(system: System) -> Iterator[None]:
    """Ask from several threads beside the block."""
    stop = threading.Event()
    threads = [threading.Thread(target=system.ask, args=(stop, i)) for i in range(ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def replicated(
    collection: Collection,
    replicas: int,
    apart: dict[tuple[int, int], dict[str, str]] | None = None,
    reload_s: float = 0.2,
) -> Iterator[System]:
    """The system, started; a server's replicas follow each other in `search`.

    `apart` has keys of Prepare for replicas (server, replica) that read other folders.
    """
    ports = iter(free_ports(2 * replicas))
    servers = [[f"127.0.0.1:{next(ports)}" for _ in range(replicas)] for _ in range(2)]
    config = with_section(collection.config, "Search", server_list=servers, reload_s=reload_s)
    config = with_section(config, "Middle", port=0, cache="off", deadline_ms=5000)
    collection.config = with_section(config, "Prepare", keep_versions=3)
    folder = collection.folder
    with ExitStack() as stack:
        alone = with_section(config, "Inference", port=0)
        inference = stack.enter_context(running("inference/inference.py", alone, cwd=folder))
        search = []
        for number in range(2):
            for replica in range(replicas):
                own = with_section(config, "Prepare", **(apart or {}).get((number, replica), {}))
                arguments = ("--server-index", str(number), "--replica", str(replica))
                search.append(
                    stack.enter_context(running("search/search.py", own, *arguments, cwd=folder))
                )
        config = with_section(config, "Inference", port=inference.port)
        middle = stack.enter_context(running("middle/middle.py", config, cwd=folder))
        system = System(collection, search, middle)
        system.learn("version v000001:")
        yield system


def beside(folder: Path) -> str:
    """A folder as data/index, also with v000002, which is not made yet; gives its name.

    CURRENT is what it was, until `follow`.
    """
    index, other = folder / "data/index", folder / "other"
    (other / "v000002").mkdir(parents=True)
    for name in ("v000001", "segments"):
        (other / name).symlink_to(index / name)
    shutil.copy(index / "CURRENT", other / "CURRENT")
    for path in (index / "v000001").iterdir():
        (other / "v000002" / path.name).symlink_to(index / "v000002" / path.name)
    return "other"


def follow(folder: Path) -> None:
    """What data/index names is current in the folder beside it, too, from now on."""
    (folder / "other/new").symlink_to(folder / "data/index/CURRENT")
    (folder / "other/new").rename(folder / "other/CURRENT")


def change(system: System, chance: np.random.Generator, number: int) -> None:
    """Add five images and delete three."""
    paths = system.collection.paths()
    for path in chance.choice(paths, 3, replace=False):
        (system.collection.folder / path).unlink()
    system.collection.write_images(range(1000 + 5 * number, 1005 + 5 * number))


def take_a_bad_one(system: System, chance: np.random.Generator, number: int) -> None:
    """Put a version in use whose index has a flipped bit; every server refuses it."""
    folders = folders_of(system.collection.folder)
    good = read_current(folders)
    assert good is not None
    bad = copy_version(folders, good.now.version, f"v{900_000 + number}")
    for path in files_of_copy(folders, bad.version):
        if path.suffix == ".hnsw":
            flip(path, chance)
    write_current(folders, Current(bad, good.now))
    for service in system.search:
        until_line(service, f"/{bad.version}-")
    write_current(folders, good)
    delete_copy(folders, bad.version)


def until_line(service: Service, text: str) -> None:
    """Wait until a service has logged a line with a text."""
    for _ in range(WAIT_S * 20):
        if any(text in line for line in service.output):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"no line with {text}: {service.output}")


def swaps(folder: Path, count: int, seed: int = 0) -> int:
    """Swap `count` times under load: to new versions, to bad ones, and back to the one before.

    Gives the number of answers, each of which was full and right for the version that it names.
    """
    chance = np.random.default_rng(seed)
    collection = Collection(folder, images=60, shards=2)
    with replicated(collection, replicas=2) as system, asking(system):
        system.until("v000001")
        for number in range(count):
            if number % 3 == 1:
                take_a_bad_one(system, chance, number)
            elif number % 3 == 2:
                done = run_forked("prepare/rollback.py", system.collection.config, cwd=folder)
                assert done.returncode == 0, done.stderr
                system.until(done.stdout.split()[1].rstrip(":"))
            else:
                change(system, chance, number)
                system.until(system.learn(system.collection.prepare()))
            system.check()
    system.check()
    return system.answers
