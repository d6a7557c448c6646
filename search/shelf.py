"""The index versions that a search server holds: the one in use, and the one before for a while."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.errors import MissingPackage, NotFound, Unavailable
from search.index import Shard, load_shard
from search.manifest import BadIndex, Folders, Manifest, read_current, read_manifest

log = logging.getLogger(__name__)

KEEP_OLD_S = 30.0
"""How long the version before is kept after a swap: other servers may still be loading theirs."""


Choose = Callable[[int], Sequence[int]]
"""Which shards a server holds of an index with so many."""


class Version(NamedTuple):
    """A loaded version: its manifest and the shards that this server holds."""

    manifest: Manifest
    shards: dict[int, Shard]


def load_version(folders: Folders, name: str, choose: Choose) -> Version:
    """Load the chosen shards of a version, verified; raises BadIndex."""
    manifest = read_manifest(folders, name)
    loaded = {
        shard: load_shard(folders, name, manifest.dim, manifest.shards[shard])
        for shard in choose(len(manifest.shards))
        if shard < len(manifest.shards)
    }
    return Version(manifest, loaded)


class Shelf:
    """Follows CURRENT: loads a new version beside the old one and then swaps them."""

    def __init__(self, folders: Folders, choose: Choose, reload_s: float) -> None:
        self._folders = folders
        self._choose = choose
        self._reload_s = reload_s
        self._versions: list[Version] = []  # the newest first
        self._swapped = 0.0
        self._refused: str | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="reload", daemon=True)

    def start(self) -> None:
        """Load the version in use, if there is one, then follow it; raises MissingPackage."""
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._closed.set()
        self._thread.join()

    def newest(self) -> Version:
        """The version in use; raises Unavailable before the first."""
        if not self._versions:
            raise Unavailable("no index is loaded: run prepare first", "no_index")
        return self._versions[0]

    def get(self, name: str | None) -> Version:
        """The version of that name, or the newest for None; raises NotFound."""
        if name is None:
            return self.newest()
        for version in self._versions:
            if version.manifest.version == name:
                return version
        raise NotFound(f"version {name} is not loaded", "no_such_version")

    def refresh(self) -> None:
        """Swap to what CURRENT names; one that cannot be loaded is refused and logged once."""
        name = read_current(self._folders)
        loaded = [version.manifest.version for version in self._versions]
        if name and name != self._refused and name not in loaded[:1]:
            try:
                version = load_version(self._folders, name, self._choose)
            except BadIndex as error:
                self._refused = name
                log.error("version refused, %s stays: %s", (loaded or ["none"])[0], error)
                return
            except MissingPackage:
                self._refused = name
                raise
            self._versions = [version, *self._versions[:1]]
            self._swapped = time.monotonic()
            self._refused = None
            log.info("version %s: shards %s", name, sorted(version.shards))
        elif len(self._versions) > 1 and time.monotonic() - self._swapped > KEEP_OLD_S:
            self._versions = self._versions[:1]

    def _follow(self) -> None:
        while not self._closed.wait(self._reload_s):
            try:
                self.refresh()
            except MissingPackage as error:
                log.error("version refused: %s", error)
            except Exception:  # the edge of the thread: the next look may succeed
                log.exception("looking for a new version failed")
