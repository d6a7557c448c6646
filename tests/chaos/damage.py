"""Versions that are not as they were written, put in use under a running search server."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from common.wire import decode_reply, encode, pack_rows
from devtools.collection import Collection
from devtools.services import Service, running, with_section
from search.manifest import (
    CURRENT,
    MANIFEST,
    SEGMENTS,
    Current,
    Folders,
    VersionRef,
    files_of_segment,
    read_current,
    read_manifest,
    write_current,
)
from search.messages import Info, SearchReply, SearchRequest
from search.self_hash import with_self_hash

WAIT_S = 30
Harm = Callable[[list[Path]], Path]
"""Does harm to one of a version's files, or to CURRENT beside them; gives which."""


def folders_of(folder: Path) -> Folders:
    """The folders of an index as config.json names them by default."""
    return Folders(folder / "data/index", folder / "data/paths", folder / "data/hashes")


def reseal(path: Path, changes: dict[str, Any]) -> str:
    """Change a manifest and hash it again, as whoever wrote it would have; gives its own digest."""
    told = {**json.loads(path.read_bytes()), **changes, "sha256": ""}
    hashed = with_self_hash(cast("Any", told))
    path.unlink()  # other versions may share the file
    path.write_bytes(hashed)
    return str(json.loads(hashed)["sha256"])


def copy_version(folders: Folders, version: str, name: str, **changes: Any) -> VersionRef:
    """The same version under another name, its files shared with it but for its manifest.

    Its segments have other names, too, so no server has loaded them.
    """
    for folder in folders.all():
        (folder / name).mkdir()
        for path in (folder / version).iterdir():
            os.link(path, folder / name / path.name)
    manifest = folders.index / name / MANIFEST
    told = {**json.loads(manifest.read_bytes()), "version": name, **changes}
    shards = json.dumps(told["shards"])
    for segment in read_manifest(folders, version).segments:
        shards = shards.replace(segment.name, f"{name}-{segment.name}")
        for folder, file in files_of_segment(folders, segment):
            os.link(folder / file.name, folder / f"{name}-{file.name}")
    return VersionRef(name, reseal(manifest, {**told, "shards": json.loads(shards)}))


def files_of_copy(folders: Folders, name: str) -> list[Path]:
    """All files of such a version."""
    return [
        path
        for folder in folders.all()
        for path in (*(folder / name).iterdir(), *(folder / SEGMENTS).glob(f"{name}-*"))
    ]


def delete_copy(folders: Folders, name: str) -> None:
    """Delete such a version."""
    for path in files_of_copy(folders, name):
        path.unlink(missing_ok=True)
    for folder in folders.all():
        (folder / name).rmdir()


def index_file(folders: Folders, version: str, shard: int) -> Path:
    """The file of the index of a shard's first segment."""
    segment = read_manifest(folders, version).shards[shard].segments[0]
    return folders.index / SEGMENTS / segment.index.name


def flip(path: Path, chance: np.random.Generator) -> None:
    """Flip a bit of a file, in a file of its own."""
    data = bytearray(path.read_bytes())
    data[int(chance.integers(len(data)))] ^= 1 << int(chance.integers(8))
    replace(path, bytes(data))


def replace(path: Path, data: bytes) -> None:
    """Put other bytes at a path, in a file of its own and at once."""
    path.with_name("other").write_bytes(data)
    path.with_name("other").replace(path)


@dataclass
class Watched:
    """A search server that holds v000001 of an index, and what it answers."""

    folders: Folders
    service: Service
    expected: SearchReply
    reasons: list[str] = field(default_factory=list)
    """Of each refusal."""

    def refuses(self, harm: Harm, **changes: Any) -> str:
        """Put a harmed copy of the version in use, then the version again; gives the reason.

        The server must refuse it and name the file, and answer as before all the while.
        """
        good = read_current(self.folders)
        assert good is not None
        name = f"v{2 + len(self.reasons):06}"
        named = copy_version(self.folders, good.now.version, name, **changes)
        files = sorted(files_of_copy(self.folders, name))
        current = self.folders.index / CURRENT
        staged = current.with_name("staged")
        staged.write_bytes(with_self_hash(Current(named, good.now)))
        harmed = harm([*files, staged])
        staged.replace(current)
        info = self._until(lambda info: bool(info.reason) or info.version == name)
        assert info.version == good.now.version, f"{name} was taken: {harmed}"
        assert ask(self.service) == self.expected
        self.reasons.append(info.reason)
        write_current(self.folders, good)
        self._until(lambda info: not info.reason)
        delete_copy(self.folders, name)
        shown = CURRENT if harmed == staged else harmed.name
        assert shown in info.reason, f"{harmed}: {info.reason}"
        return info.reason

    def _until(self, condition: Callable[[Info], bool]) -> Info:
        """What the server says once something is so."""
        deadline = time.monotonic() + WAIT_S
        while not condition(info := info_of(self.service)):
            assert time.monotonic() < deadline, info
            time.sleep(0.01)
        return info


def info_of(service: Service) -> Info:
    """What the server says of what it holds."""
    return decode_reply(service.request("GET", "/info").data, Info)


def ask(service: Service) -> SearchReply:
    """The nearest of all images to a vector, by the server itself."""
    info = info_of(service)
    vector = np.ones((1, info.dim), dtype=np.float32) / np.sqrt(info.dim, dtype=np.float32)
    body = encode(SearchRequest(info.dim, pack_rows(vector), [info.images]))
    return decode_reply(service.request("POST", "/search", body=body).data, SearchReply)


@contextmanager
def watched(folder: Path, **prepare: Any) -> Iterator[Watched]:
    """A search server over a small collection made in `folder`."""
    collection = Collection(folder, images=40, shards=2, **prepare)
    config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"], reload_s=0.02)
    with running("search/search.py", config, cwd=folder) as service:
        yield Watched(folders_of(folder), service, ask(service))


def flips(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Flip a random bit of a random file, manifests and CURRENT too, `count` times.

    Gives the reasons for which the running server refused each.
    """
    chance = np.random.default_rng(seed)

    def harm(files: list[Path]) -> Path:
        path = files[int(chance.integers(len(files)))]
        flip(path, chance)
        return path

    with watched(folder) as server:
        return [server.refuses(harm) for _ in range(count)]
