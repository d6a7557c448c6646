"""prepare over 10,000 images with broken ones among them, killed -9 at random moments."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from devtools.tiny_model import write_tiny_model
from search.manifest import BadIndex, Manifest
from tests.prepare.prepared_folder import Workspace
from tests.prepare.version_files import files_in_use
from tests.prepare.waiting import chunks_grow, wait_for

IMAGES, FIRST, CHUNK = 10_000, 1_000, 200
BROKEN_EVERY = 100


class Unbroken(NamedTuple):
    """A run to the end, and the seconds that all of it, a chunk and the index took."""

    workspace: Workspace
    total_s: float
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
        """Read beside the block; nothing must be torn."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        assert self.torn == []
        assert self.loads > 0

    def _read(self) -> None:
        while not self._stop.wait(0.02):
            name = self._workspace.current()
            try:
                self._workspace.load()
                self.loads += 1
            except BadIndex as error:
                if name == self._workspace.current():
                    self.torn.append(str(error))


def write_images(folder: Path) -> None:
    """10,000 small images, no two alike, one in a hundred broken; the first thousand apart."""
    for part in ("first", "rest"):
        (folder / part).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 12, 12, 3), dtype=np.uint8)
    for number in range(IMAGES):
        part, suffix = "first" if number < FIRST else "rest", "png" if number % 2 else "jpg"
        path = folder / part / f"{number:05}.{suffix}"
        if number % BROKEN_EVERY == 7:
            path.write_bytes([b"", b"no image", b"\xff\xd8\xff\xe0"][number // BROKEN_EVERY % 3])
        else:
            Image.fromarray(pixels[number]).save(path)


def prepare_first(root: Path, images: Path, model: Path) -> Workspace:
    """The first thousand, prepared: what readers have while the rest is added."""
    keys = {"chunk-size": CHUNK, "images": [str(images / "first")]}
    made = Workspace(root, model, keys)
    made.root.mkdir()
    made.prepare()
    return made


def prepare_all(first: Workspace, images: Path) -> Unbroken:
    """All of them, in one run."""
    workspace = first.copy(first.root.with_name("unbroken")).having(images=[str(images)])
    started = time.monotonic()
    process = workspace.start()
    chunks_grow(workspace, 1, process)
    embedding = time.monotonic()
    wait_for(lambda: indexing(workspace), process)
    index = time.monotonic()
    output, _ = process.communicate()
    ended = time.monotonic()
    assert process.returncode == 0, output
    chunks = len(workspace.embeddings.entries()) - FIRST // CHUNK
    return Unbroken(workspace, ended - started, (index - embedding) / chunks, ended - index)


def indexing(workspace: Workspace) -> bool:
    """Whether a version is being written."""
    return any(not (path / "MANIFEST").exists() for path in workspace.folders.index.glob("v*"))


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process that has not ended by itself."""
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -9, output


def files_of(workspace: Workspace) -> dict[str, bytes]:
    """The content of the version in use but for its indexes, by name."""
    return {
        name: path.read_bytes()
        for name, path in files_in_use(workspace).items()
        if workspace.folders.index not in path.parents
    }


def facts(manifest: Manifest) -> tuple[object, ...]:
    """What a manifest says but for names, times and the links, which threads make in any order."""
    counts = [shard.count for shard in manifest.shards]
    return manifest.model, manifest.space, manifest.dim, manifest.count, manifest.inputs, counts


def assert_same(made: Workspace, unbroken: Workspace) -> None:
    """All that was made is what one run to the end makes: rows, vectors, reasons, index files."""
    assert unbroken.rows() == made.rows()
    assert unbroken.skipped() == made.skipped()
    assert unbroken.embedded() == made.embedded()
    expected, vectors = unbroken.vectors(), made.vectors()
    assert list(expected) == list(vectors)
    np.testing.assert_array_equal(list(expected.values()), list(vectors.values()))
    assert files_of(unbroken) == files_of(made)
    assert facts(unbroken.manifest()) == facts(made.manifest())


def kills(folder: Path, count: int, seed: int = 0) -> int:
    """Kill prepare at `count` random moments of its whole run, beside a reader; begin again with
    the first thousand whenever a run ends before its kill.

    Every run that ends has made what one run makes. Gives how many did.
    """
    write_images(folder / "images")
    model = write_tiny_model(folder / "tiny")
    first = prepare_first(folder / "first", folder / "images", model)
    unbroken = prepare_all(first, folder / "images")
    chance = np.random.default_rng(seed)
    done = rounds = 0
    while done < count:
        rounds += 1
        workspace = first.copy(folder / f"round-{rounds}").having(images=[str(folder / "images")])
        with Reader(workspace).reading():
            while done < count and killed(workspace, chance.uniform(0, unbroken.total_s)):
                done += 1
                assert workspace.load().manifest.version in ("v000001", "v000002")
            workspace.prepare()
        assert_same(workspace, unbroken.workspace)
    return rounds


def killed(workspace: Workspace, moment_s: float) -> bool:
    """Start prepare and kill it after some seconds; False when it ended before."""
    process = workspace.start()
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment_s)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode in (0, -9), output
    return process.returncode == -9
