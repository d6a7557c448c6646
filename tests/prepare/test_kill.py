"""10,000 images with broken ones among them, killed -9 again and again: nothing is lost or torn."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from search.manifest import BadIndex, Manifest
from tests.prepare.searching import search, unit_queries
from tests.prepare.workspace import Workspace, journal_grows, wait_for

IMAGES, FIRST, CHUNK = 10_000, 1_000, 200
BROKEN_EVERY = 100
KILLS_EMBEDDING, KILLS_INDEXING = 4, 2


class Unbroken(NamedTuple):
    """A run to the end, and the seconds that it took for a chunk and for the index."""

    workspace: Workspace
    chunk_s: float
    index_s: float


class Reader:
    """Loads the version in use over and over, as a search server does, and notes what is torn."""

    def __init__(self, workspace: Workspace) -> None:
        self.loads = 0
        self.torn: list[str] = []
        self._workspace = workspace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read beside the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _read(self) -> None:
        while not self._stop.wait(0.02):
            name = self._workspace.current()
            try:
                self._workspace.load()
                self.loads += 1
            except BadIndex as error:
                if name == self._workspace.current():
                    self.torn.append(str(error))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 small images, no two alike, and one in a hundred broken."""
    folder = tmp_path_factory.mktemp("images")
    for part in ("first", "rest"):
        (folder / part).mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 12, 12, 3), dtype=np.uint8)
    for number in range(IMAGES):
        part, suffix = "first" if number < FIRST else "rest", "png" if number % 2 else "jpg"
        path = folder / part / f"{number:05}.{suffix}"
        if number % BROKEN_EVERY == 7:
            path.write_bytes([b"", b"no image", b"\xff\xd8\xff\xe0"][number // BROKEN_EVERY % 3])
        else:
            Image.fromarray(pixels[number]).save(path)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, images: Path, model: Path) -> Workspace:
    """The first thousand, prepared: what readers have while the rest is added."""
    keys = {"chunk-size": CHUNK, "images": [str(images / "first")]}
    made = Workspace(tmp_path_factory.mktemp("kill") / "first", model, keys)
    made.root.mkdir()
    made.prepare()
    return made


@pytest.fixture(scope="module")
def unbroken(first: Workspace, images: Path) -> Unbroken:
    """All of them, in one run."""
    workspace = first.copy(first.root.with_name("unbroken")).having(images=[str(images)])
    process = workspace.start()
    journal_grows(workspace, 1, process)
    embedding = time.monotonic()
    wait_for(lambda: indexing(workspace), process)
    index = time.monotonic()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    chunks = len(workspace.embeddings.entries()) - FIRST // CHUNK
    return Unbroken(workspace, (index - embedding) / chunks, time.monotonic() - index)


def indexing(workspace: Workspace) -> bool:
    """Whether a version is being written."""
    return any(not (path / "MANIFEST").exists() for path in workspace.folders.index.glob("v*"))


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process that has not ended by itself."""
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -9, output


def kill_at_random(workspace: Workspace, unbroken: Unbroken) -> None:
    """Start and kill prepare: at four moments of embedding, and at two of indexing."""
    chance = np.random.default_rng(7)
    for number in range(KILLS_EMBEDDING + KILLS_INDEXING):
        process = workspace.start()
        if number < KILLS_EMBEDDING:
            journal_grows(workspace, int(chance.integers(0, 10)), process)
            moment_s = chance.uniform(0, unbroken.chunk_s)
        else:
            wait_for(lambda: indexing(workspace), process)
            moment_s = chance.uniform(0, unbroken.index_s / 2)
        time.sleep(moment_s)  # no wait for anything: the moment itself is what is drawn
        kill(process)
        assert workspace.load().manifest.version == "v000001"


@pytest.fixture(scope="module")
def killed(first: Workspace, images: Path, unbroken: Unbroken) -> Workspace:
    """All of them, killed six times on the way; no reader sees anything torn."""
    workspace = first.copy(first.root.with_name("killed")).having(images=[str(images)])
    reader = Reader(workspace)
    with reader.reading():
        kill_at_random(workspace, unbroken)
        workspace.prepare()
    assert reader.torn == []
    assert reader.loads > 0
    return workspace


def test_the_collection_is_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """The same images by path, size, time and hashes, and the same ids."""
    assert unbroken.workspace.rows() == killed.rows()
    assert unbroken.workspace.ids() == killed.ids()
    assert len(killed.ids()) == IMAGES - IMAGES // BROKEN_EVERY


def test_the_vectors_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """Bit by bit, for each path."""
    expected, vectors = unbroken.workspace.vectors(), killed.vectors()
    assert list(expected) == list(vectors)
    np.testing.assert_array_equal(np.stack(list(expected.values())), list(vectors.values()))


def test_the_skipped_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """The same paths for the same reasons, one in a hundred."""
    assert unbroken.workspace.skipped() == killed.skipped()
    assert len(killed.skipped()) == IMAGES // BROKEN_EVERY


def test_nothing_is_embedded_twice(killed: Workspace, unbroken: Unbroken) -> None:
    """Each image is in one finished chunk only: what a kill loses is the chunk under way."""
    assert unbroken.workspace.embedded() == killed.embedded() == len(killed.ids())


def files_of(workspace: Workspace) -> dict[str, bytes]:
    """The content of the key, record and offset files of the version in use, by name."""
    name = workspace.current() or "none"
    folders = [folder / name for folder in workspace.folders.all()[1:]]
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_the_index_files_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """Keys, records and offsets are equal byte by byte, and no more of them."""
    assert files_of(unbroken.workspace) == files_of(killed)


def facts(manifest: Manifest) -> tuple[object, ...]:
    """What a manifest says but for names, times and the links, which threads make in any order."""
    counts = [shard.count for shard in manifest.shards]
    return manifest.model, manifest.space, manifest.dim, manifest.count, manifest.inputs, counts


def test_the_manifests_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """Same model, counts, shards and digest of what went in."""
    assert facts(unbroken.workspace.manifest()) == facts(killed.manifest())
    assert killed.manifest().recall.value > 0.95


def test_answers_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """At high ef, the same ids in the same order with the same scores."""
    queries = unit_queries(50, killed.manifest().dim)
    expected = search(unbroken.workspace.load(), queries, 20, 2000)
    assert expected == search(killed.load(), queries, 20, 2000)


def test_no_half_made_version_stays(killed: Workspace) -> None:
    """The versions are whole, the same in all three folders, and no more than keep-versions."""
    versions = killed.versions()
    assert all((killed.folders.index / name / "MANIFEST").exists() for name in versions[0])
    assert versions == [versions[0]] * 3
    assert len(versions[0]) == 2


def test_a_torn_journal_line_is_not_there(first: Workspace) -> None:
    """Half a line at the journal's end, as a kill may leave it: its chunk is made again."""
    workspace = first.copy(first.root.with_name("torn"))
    expected = workspace.rows()
    journal = workspace.embeddings.path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert len(workspace.embeddings.entries()) == FIRST // CHUNK - 1

    workspace.prepare()

    assert expected == workspace.rows()
    assert len(workspace.embeddings.entries()) == FIRST // CHUNK
    shutil.rmtree(workspace.root)
