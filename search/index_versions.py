"""The index versions that a search server holds: the one in use, and the one before for a while."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.errors import MissingPackage, NotFound, Unavailable
from common.metrics import INDEX_IN_USE, INDEX_REFUSED
from search.index import Segment, load_shard
from search.manifest import (
    BadIndex,
    Current,
    Folders,
    Manifest,
    VersionRef,
    manifest_of,
    read_current,
)

log = logging.getLogger(__name__)

KEEP_OLD_S = 30.0
"""How long the version before is kept after a swap, and after it was asked for by its digest: other
servers may still be loading theirs, or have refused it."""
TRY_AGAIN_S = 60.0
"""A refused version is looked at again: its files may have been on their way here."""

Choose = Callable[[int], Sequence[int]]
"""Which shards a server holds of an index with so many."""


class Version(NamedTuple):
    """A loaded version: its manifest and the shards that this server holds."""

    manifest: Manifest
    shards: dict[int, Segment]


class Refusal(NamedTuple):
    """What was refused last, None for a CURRENT that cannot be read; when and why."""

    named: VersionRef | None
    reason: str
    at: float


def load_version(folders: Folders, named: VersionRef, choose: Choose) -> Version:
    """Load the chosen shards of a version, verified; raises BadIndex, MissingPackage."""
    manifest = manifest_of(folders, named)
    loaded = {
        shard: load_shard(folders, named.version, manifest.dim, manifest.shards[shard])
        for shard in choose(len(manifest.shards))
        if shard < len(manifest.shards)
    }
    return Version(manifest, loaded)


class IndexVersions:
    """Follows CURRENT: loads a new version beside the old one and then swaps them."""

    def __init__(
        self,
        folders: Folders,
        choose: Choose,
        reload_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refusal: Refusal | None = None
        """Why this server does not hold what CURRENT names; None when it does."""
        self._folders = folders
        self._choose = choose
        self._reload_s = reload_s
        self._now = now
        self._versions: list[Version] = []  # the newest first
        self._wanted = 0.0  # when the one before was last of use
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

    def get(self, version_digest: str | None) -> Version:
        """The version with that digest, or the newest for None; raises NotFound."""
        newest, *others = self._versions or [self.newest()]
        if version_digest in (None, newest.manifest.named.sha256):
            return newest
        for version in others:
            if version.manifest.named.sha256 == version_digest:
                self._wanted = self._now()
                return version
        raise NotFound("no version with this digest is loaded", "no_such_version")

    def refresh(self) -> None:
        """Swap to what CURRENT names; what cannot be loaded is refused, and tried again later.

        Raises MissingPackage.
        """
        current = None
        try:
            current = read_current(self._folders)
            if current and self._is_due(current.now):
                self._activate(current.now)
                self.refusal = None
        except BadIndex as error:
            self._refuse(current, str(error))
        except MissingPackage as error:
            self._refuse(current, str(error))
            raise
        if self._now() - self._wanted > KEEP_OLD_S:
            self._versions = self._versions[:1]

    def _is_due(self, named: VersionRef) -> bool:
        refused = self.refusal
        if refused is None:
            return named not in [one.manifest.named for one in self._versions[:1]]
        return refused.named != named or self._now() - refused.at > TRY_AGAIN_S

    def _activate(self, named: VersionRef) -> None:
        """Put a version in use, loaded where it is not held; raises BadIndex, MissingPackage."""
        held = [one for one in self._versions if one.manifest.named == named]
        version = held[0] if held else load_version(self._folders, named, self._choose)
        others = [one for one in self._versions if one is not version][:1]
        if others and others[0].manifest.space != version.manifest.space:
            raise BadIndex(
                f"{named.version} is of another model, {version.manifest.model}: "
                "start this server and inference anew to change it"
            )
        self._versions = [version, *others]
        self._wanted = self._now()
        INDEX_IN_USE.clear()
        INDEX_IN_USE.labels(named.version).set(1)
        log.info("version %s: shards %s", named.version, sorted(version.shards))

    def _refuse(self, current: Current | None, reason: str) -> None:
        """Keep what there is; where there is nothing, take the version before."""
        named = current.now if current else None
        told = self.refusal
        self.refusal = Refusal(named, reason, self._now())
        if told is None or told[:2] != (named, reason):
            INDEX_REFUSED.inc()
            stays = self._versions[0].manifest.version if self._versions else "none"
            log.error("version refused, %s stays: %s", stays, reason)
        if not self._versions and current and current.before:
            try:
                self._activate(current.before)
            except BadIndex as error:
                log.error("nor is the version before it whole: %s", error)

    def _follow(self) -> None:
        while not self._closed.wait(self._reload_s):
            try:
                self.refresh()
            except MissingPackage:
                continue  # told when it was refused
            except Exception:  # the edge of the thread: the next look may succeed
                log.exception("looking for a new version failed")
