"""Versions in a storage that is a folder, and a server that has them from there."""

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from common.files import LOCK
from devtools.fake_clock import FakeClock
from prepare.publishing import begin_publishing
from prepare.versions import put_in_use
from search.index_versions import IndexVersions, MayLoad, at_once
from search.log import Log
from search.manifest import CURRENT, MANIFEST, Manifest, files_of, write_manifest
from search.object_store import ObjectStore
from search.stored_versions import FILES
from search.version_cache import VersionCache
from tests.unit.indexing import folders_in, write_version

VECTORS = np.eye(8, dtype=np.float32)


def shard_1(_count: int) -> list[int]:
    """The shards of the server."""
    return [1]


class Published:
    """Versions in a storage that is a folder, and the empty disk of a server of shard 1."""

    def __init__(self, root: Path) -> None:
        self.url, self.root = f"file://{root}/store", root / "store"
        for name in ("prepare", "server"):
            (root / name).mkdir()
        self.ours = folders_in(root / "prepare")
        self.folders = folders_in(root / "server")
        self.clock = FakeClock()

    def publish(self, number: int, inputs: str = "", log: Log | None = None) -> Manifest:
        """Write a version of two shards, with all that a log has, and put it in use."""
        vectors = np.roll(VECTORS, number, axis=1)
        manifest = write_version(self.ours, f"v{number:06}", vectors, (0, 1), inputs)
        if log:
            followed = replace(manifest, log_id=log.id(), log_position=log.end())
            manifest = write_manifest(self.ours, followed)
        publisher = begin_publishing(self.url, self.ours)
        assert publisher
        publisher.upload(manifest)
        put_in_use(self.ours, manifest.named, 2, publisher.publish)
        return manifest

    def cache(self) -> VersionCache:
        """A cache over what is on the disk."""
        return VersionCache(self.folders, ObjectStore(self.url), shard_1, keep=2)

    def server(self, may_load: MayLoad = at_once, log: Log | None = None) -> IndexVersions:
        """The versions of a server that has looked at its disk, with no thread."""
        cache = self.cache()
        server = IndexVersions(self.folders, shard_1, 1.0, self.clock, may_load, cache, log)
        server.refresh()
        return server

    def is_on_disk(self, *manifests: Manifest) -> bool:
        """Whether the server's disk has its shard of some versions, and nothing else."""
        files = [
            folder / file.name
            for manifest in manifests
            for folder, file in files_of(self.folders, manifest, [1])
        ]
        files += [self.folders.index / manifest.version / MANIFEST for manifest in manifests]
        files.append(self.folders.index / CURRENT)
        found = {path for path in self.folders.index.parent.rglob("*") if path.is_file()}
        return set(files) == {path for path in found if path.name != LOCK}

    def object(self, ending: str, manifest: Manifest) -> Path:
        """The object of a file of the server's shard."""
        files = (file for _, file in files_of(self.ours, manifest, [1]))
        (file,) = (file for file in files if file.name.endswith(ending))
        return self.root / FILES / file.sha256
