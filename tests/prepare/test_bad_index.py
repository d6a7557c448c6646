"""A version that is not just what was written is refused, whatever is wrong with it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.manifest import MANIFEST, BadIndex, Current, VersionRef, write_current
from tests.chaos.damage import reseal
from tests.prepare.prepared_folder import Workspace
from tests.prepare.version_files import files_in_use

FLIPS = 100
GARBAGE = [
    b"",
    b"\0" * 100,
    b"\xff\xfe\xfd",
    b'{"version": "\xff"}',
    b"[]",
    b"{}",
    b'{"version": 1}',
    b'{"other": ' + b"[" * 100_000,
]


@pytest.fixture
def files(twelve: Workspace) -> list[Path]:
    """Every file of the version in use."""
    return [*files_in_use(twelve).values(), twelve.folders.index / "v000001" / MANIFEST]


@contextmanager
def kept(path: Path) -> Iterator[Path]:
    """A file that is put back at the end."""
    copy = path.with_name("kept")
    shutil.copy(path, copy)
    try:
        yield path
    finally:
        copy.replace(path)


def flip(path: Path, chance: np.random.Generator) -> str:
    """Flip a bit of a file; gives which."""
    data = bytearray(path.read_bytes())
    place, bit = int(chance.integers(len(data))), int(chance.integers(8))
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"{path.name}: bit {bit} of byte {place}"


def retell(workspace: Workspace, changes: dict[str, Any]) -> None:
    """Change what the manifest says, and have CURRENT name it."""
    sha256 = reseal(workspace.folders.index / "v000001" / MANIFEST, changes)
    write_current(workspace.folders, Current(VersionRef("v000001", sha256)))


def test_every_flipped_bit_is_seen(twelve: Workspace, files: list[Path]) -> None:
    """Seeded random flips over all files of all shards: each is refused, the original is not."""
    chance = np.random.default_rng(0)
    for path in [files[i] for i in chance.integers(len(files), size=FLIPS)]:
        with kept(path):
            flipped = flip(path, chance)
            with pytest.raises(BadIndex, match=path.name):
                pytest.fail(f"{flipped}: loaded as {twelve.load().manifest.version}")
    assert 12 == len(twelve.ids())


@pytest.mark.parametrize("change_bytes", [-(10**9), -8, -1, 1])
def test_every_file_of_another_length_is_seen(
    twelve: Workspace, files: list[Path], change_bytes: int
) -> None:
    """Empty, too short and too long files are refused."""
    for path in files:
        with kept(path):
            os.truncate(path, max(0, path.stat().st_size + change_bytes))
            with pytest.raises(BadIndex, match=path.name):
                twelve.load()


def test_every_missing_file_is_seen(twelve: Workspace, files: list[Path]) -> None:
    """Any file that is not there, or is a folder, is refused."""
    for path in files:
        with kept(path):
            path.unlink()
            with pytest.raises(BadIndex, match=path.name):
                twelve.load()
            path.mkdir()
            with pytest.raises(BadIndex, match=path.name):
                twelve.load()
            path.rmdir()


def test_a_file_of_another_shard_is_seen(twelve: Workspace, files: list[Path]) -> None:
    """A whole and sound file in the place of another is refused."""
    for path, other in zip(files, files[1:] + files[:1], strict=True):
        with kept(path):
            shutil.copy(other, path)
            with pytest.raises(BadIndex, match=path.name):
                twelve.load()


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_a_garbage_manifest_is_refused(twelve: Workspace, content: bytes) -> None:
    """What is no manifest is an error of the version, not a crash."""
    (twelve.folders.index / "v000001" / MANIFEST).write_bytes(content)

    with pytest.raises(BadIndex, match="v000001"):
        twelve.load()


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 15},
        {"dim": 17},
        {"dim": 32},
        {"dim": 0},
        {"dim": -1},
        {"version": "v000002"},
        {"distance": "l2"},
        {"shards": None},
    ],
)
def test_a_manifest_that_tells_another_story_is_refused(
    twelve: Workspace, change: dict[str, Any]
) -> None:
    """Another dimension, version or distance than that of the files is refused."""
    retell(twelve, change)

    with pytest.raises(BadIndex, match="v000001"):
        twelve.load()


def test_files_that_do_not_belong_together_are_refused(twelve: Workspace) -> None:
    """A manifest that gives a shard the files of another, digest and all, is refused."""
    shards = json.loads((twelve.folders.index / "v000001" / MANIFEST).read_bytes())["shards"]
    counts = [shard["segments"][0]["count"] for shard in shards]
    one, other = counts.index(min(counts)), counts.index(max(counts))
    for kind in ("index", "records", "offsets", "hashes", "canaries"):
        told = json.loads(json.dumps(shards))
        told[one]["segments"][0][kind] = shards[other]["segments"][0][kind]
        retell(twelve, {"shards": told})
        with pytest.raises(BadIndex):
            twelve.load()


def test_a_manifest_is_the_one_that_current_names(twelve: Workspace) -> None:
    """Another that was made under the same name, sealed and whole, is not taken for it."""
    reseal(twelve.folders.index / "v000001" / MANIFEST, {"created": "later"})

    with pytest.raises(BadIndex, match="another than CURRENT says"):
        twelve.load()


@pytest.mark.parametrize("content", [*GARBAGE, b"v000001", b"../v000001", b"a\0b", b"."])
def test_a_garbage_current_is_refused(twelve: Workspace, content: bytes) -> None:
    """A CURRENT that names no version is an error of the version, not a crash."""
    (twelve.folders.index / "CURRENT").write_bytes(content)

    with pytest.raises(BadIndex):
        twelve.load()
