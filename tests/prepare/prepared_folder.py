"""A folder with a collection of images, prepared by the real commands, and how to read it back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from common.config import Config, Loaded, parse
from common.wire import Matrix
from devtools.fork_server import run_forked
from devtools.services import CHECKOUT
from prepare.chunks import EmbeddingFolder, Row, Skipped
from prepare.members import read_members
from search.image_key import IMAGE_KEY, image_id, shard_of
from search.manifest import SEGMENTS, Folders, Manifest, folders_of, manifest_in_use, read_current
from search.messages import Record
from search.version import Version, load_version

PREPARE = "prepare/prepare.py"
PRLIMIT = shutil.which("prlimit") or "prlimit"
SETPRIV = shutil.which("setpriv") or "setpriv"
SHARDS = 3


@dataclass(frozen=True)
class Workspace:
    """A folder with images, and the configuration of what is prepared from it."""

    root: Path
    model: Path
    keys: dict[str, Any] = field(default_factory=dict)
    """Of the configuration's section Prepare."""
    shards: int = SHARDS

    @property
    def config(self) -> dict[str, Any]:
        """What config.json would hold."""
        inference = {"clip": str(self.model)}
        base = {"Inference": inference, "Search": {"shards": self.shards}}
        return {**base, "Prepare": {"images": ["images"], "threads": 1, **self.keys}}

    @property
    def loaded(self) -> Loaded:
        """The configuration as our programs see it."""
        config: Config = parse(json.dumps(self.config))
        return Loaded(config, self.root)

    @property
    def images(self) -> Path:
        """The folder of images."""
        return self.root / "images"

    @property
    def embeddings(self) -> EmbeddingFolder:
        """The embedding folder."""
        return EmbeddingFolder(self.loaded.path(self.loaded.config.prepare.embedding_dir))

    @property
    def folders(self) -> Folders:
        """The folders of the index."""
        prepare = self.loaded.config.prepare
        return folders_of(self.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)

    def having(self, shards: int = SHARDS, **keys: Any) -> "Workspace":
        """The same folder with other keys of Prepare, `_` standing for `-`."""
        named = {key.replace("_", "-"): value for key, value in keys.items()}
        return replace(self, keys={**self.keys, **named}, shards=shards)

    def apart(self) -> "Workspace":
        """The same images with other folders for all that is made from them."""
        kinds = ("embedding", "index", "path", "hash")
        return self.having(self.shards, **{f"{kind}_dir": f"apart/{kind}" for kind in kinds})

    def copy(self, root: Path) -> "Workspace":
        """A copy at `root`, the times of its files too."""
        shutil.copytree(self.root, root)
        return replace(self, root=root)

    def run(
        self, *arguments: str, script: str = PREPARE, config: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return run_forked(script, config or self.config, *arguments, cwd=self.root)

    def prepare(self, *arguments: str, script: str = PREPARE, status: int = 0) -> str:
        """Run a command, which must end with this status; gives what it printed."""
        done = self.run(*arguments, script=script)
        assert done.returncode == status, done.stderr
        return done.stdout + (done.stderr if status else "")

    def limited(self, *limits: str) -> subprocess.CompletedProcess[str]:
        """Run prepare.py to its end under limits as prlimit writes them."""
        return self._run_under(PRLIMIT, *limits)

    def unprivileged(self) -> subprocess.CompletedProcess[str]:
        """Run prepare.py to its end without root's right to read everything."""
        if os.geteuid():
            return self._run_under()
        return self._run_under(SETPRIV, "--bounding-set", "-dac_override,-dac_read_search")

    def _run_under(self, *program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, sys.executable, str(CHECKOUT / PREPARE), "--config", "-"],
            input=json.dumps(self.config),
            capture_output=True,
            text=True,
            cwd=self.root,
            timeout=600,
            check=False,
        )

    def start(
        self, *arguments: str, python: Sequence[str] = (sys.executable,)
    ) -> subprocess.Popen[str]:
        """Start prepare.py; who calls ends it."""
        command = [*python, str(CHECKOUT / PREPARE), *arguments]
        return subprocess.Popen(
            [*command, "--config", str(self.write_config())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.root,
        )

    def write_config(self) -> Path:
        """Write config.json."""
        path = self.root / "config.json"
        path.write_text(json.dumps(self.config))
        return path

    def current(self) -> str | None:
        """The name of the version in use."""
        current = read_current(self.folders)
        return current.now.version if current else None

    def versions(self) -> list[set[str]]:
        """The names of the versions in each of the three folders."""
        return [{path.name for path in folder.glob("v*")} for folder in self.folders.all()]

    def manifest(self) -> Manifest:
        """The manifest of the version in use."""
        return manifest_in_use(self.folders)

    def load(self) -> Version:
        """The version in use, whole and verified."""
        version = load_version(self.folders, self.manifest().named, range)
        version.put_in_use()
        return version

    def vectors(self) -> dict[str, Matrix]:
        """The stored vector of each image of the collection, by path."""
        entries = {entry.chunk: entry for entry in self.embeddings.entries()}
        return {
            row.path: np.array(self.embeddings.vectors(entries[chunk])[number])
            for row, chunk, number in self._live()
        }

    def rows(self) -> dict[str, Row]:
        """The row of each image of the collection, by path, with the file as it is now."""
        return {row.path: row for row, _, _ in self._live()}

    def offline(self) -> set[str]:
        """The paths of the images that the index marks as offline."""
        return {record.path for record in self.indexed().values() if record.offline}

    def skipped(self) -> dict[str, Skipped]:
        """All that finished chunks say was skipped, by path."""
        chunks = [entry.chunk for entry in self.embeddings.entries()]
        return {one.path: one for chunk in chunks for one in self.embeddings.skipped(chunk)}

    def embedded(self) -> int:
        """How many rows the finished chunks hold, with those no longer in use."""
        return sum(entry.rows for entry in self.embeddings.entries())

    def _live(self) -> Iterable[tuple[Row, int, int]]:
        chunks: dict[int, list[Row]] = {}
        for member in read_members(self.embeddings):
            if not member.is_searchable:
                continue
            if member.chunk not in chunks:
                chunks[member.chunk] = self.embeddings.rows(member.chunk)
            row = chunks[member.chunk][member.row]
            file = {name: getattr(member, name) for name in ("path", "size_bytes", "mtime_ns")}
            yield msgspec.structs.replace(row, **file), member.chunk, member.row

    def indexed(self) -> dict[str, Record]:
        """The record of each image of the index, by id; ids are one to one with paths."""
        found: dict[str, Record] = {}
        version = self.load()
        shards = version.shards
        for segment in version.manifest.segments:
            path = self.folders.hashes / SEGMENTS / segment.hashes.name
            for key in np.fromfile(path, dtype=IMAGE_KEY):
                content, location, _ = key.item()
                if image := shards[shard_of(content, len(shards))].find(content, location):
                    found[image_id(key.tobytes())] = image.part.record(image.row)
        assert version.manifest.count == len(found) == len({one.path for one in found.values()})
        return found

    def ids(self) -> dict[str, str]:
        """The id of each image of the index, by path."""
        return {record.path: name for name, record in self.indexed().items()}


def noise(seed: int, width: int = 12, height: int = 12) -> Image.Image:
    """An image like no other, in RGB."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def add_images(folder: Path, seeds: Iterable[int]) -> list[Path]:
    """Save an image for each seed, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:05}.png" for seed in seeds]
    for path in paths:
        noise(int(path.stem)).save(path, compress_level=0)
    return paths


def paths_of(names: Sequence[str]) -> set[str]:
    """How the index names files of the folder of images."""
    return {os.path.join("images", name) for name in names}
