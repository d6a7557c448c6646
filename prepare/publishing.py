"""Index versions put into an object storage: files once, the manifest last, CURRENT by its ETag."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common.errors import ConfigError
from prepare.progress import Progress
from prepare.versions import current_of
from search.manifest import (
    CURRENT,
    MANIFEST,
    BadIndex,
    Current,
    Folders,
    Manifest,
    VersionRef,
    decoded,
    files_of,
    write_current,
)
from search.object_store import (
    Content,
    Listed,
    NoObject,
    ObjectChanged,
    ObjectStore,
    StoreError,
)
from search.self_hash import with_self_hash
from search.stored_versions import FILES, MANIFESTS, manifest_name, read_stored
from search.version_folders import names_to_keep

DROPPED = "dropped"
"""An empty object under this and the name of a manifest says since when that is not kept."""
GRACE = timedelta(hours=1)
"""Servers may still fetch a version that is not kept any more, and a run may still upload one."""
TRIES = 3

log = logging.getLogger(__name__)


def begin_publishing(url: str, folders: Folders) -> "Publisher":
    """Read CURRENT of the object storage and note it on the disk; raises ConfigError."""
    store = ObjectStore(url)
    known, current = None, None
    try:
        known = store.read(CURRENT)
        current = decoded(known.data, Current, f"{CURRENT} in the object storage")
    except NoObject:
        pass
    except BadIndex as error:
        log.warning("passed over: %s", error)
    if current and current != current_of(folders):
        print(f"{current.now.version} is in use in {url}, put there by another run", flush=True)
        write_current(folders, current)
    return Publisher(store, folders, known, current)


class Publisher:
    """What one run writes into an object storage. All methods raise StoreError."""

    def __init__(
        self, store: ObjectStore, folders: Folders, known: Content | None, current: Current | None
    ) -> None:
        """`known` is CURRENT when the run began, and `current` what it says."""
        self._store = store
        self._folders = folders
        self._known = known
        self._current = current

    def upload(self, manifest: Manifest) -> None:
        """Upload what the storage lacks of a version, its manifest last.

        Then look again: another run may have deleted an old file that nothing named before.
        """
        for _ in range(TRIES):
            if not (lacking := self._lacking(manifest)):
                return
            with Progress("uploading", len(lacking), "files") as progress:
                for key, path in lacking.items():
                    self._store.write(key, path)
                    progress.add(1)
        raise StoreError(f"{self._store.url}: files of {manifest.version} vanish")

    def _lacking(self, manifest: Manifest) -> dict[str, Path]:
        """What the storage lacks of a version, by key."""
        there = self._store.names(FILES)
        lacking = {
            f"{FILES}/{file.sha256}": folder / file.name
            for folder, file in files_of(self._folders, manifest)
            if file.sha256 not in there or there[file.sha256].size_bytes != file.size_bytes
        }
        name = manifest_name(manifest.named)
        if lacking or name not in self._store.names(MANIFESTS):
            path = self._folders.index / manifest.version / MANIFEST
            lacking[f"{MANIFESTS}/{name}"] = path
        return lacking

    def find(self, named: VersionRef) -> Manifest:
        """The manifest of a version of which the storage has all files; raises BadIndex."""
        manifest, _ = read_stored(self._store, named)
        there = self._store.names(FILES)
        if any(file.sha256 not in there for _, file in files_of(self._folders, manifest)):
            raise BadIndex(f"{self._store.url} lacks files of {named.version}")
        return manifest

    def publish(self, current: Current) -> None:
        """Change CURRENT; raises ConfigError if another run has changed it meanwhile."""
        if current == self._current:
            return
        try:
            self._known = self._store.replace(CURRENT, with_self_hash(current), self._known)
        except ObjectChanged:
            raise ConfigError(
                f"{self._store.url}: another run has put a version in use meanwhile, so "
                f"{current.now.version} is not in use; it is kept: run this again to put it in use"
            ) from None
        self._current = current

    def sweep(self, keep: int, now: datetime | None = None) -> None:
        """Delete what no manifest has named for an hour, of `keep` versions that are kept.

        `now` is compared with the clock of the storage. S3 refuses requests of a clock that is
        wrong by more than 15 minutes.
        """
        now = now or datetime.now(UTC)
        manifests, marks = self._store.names(MANIFESTS), self._store.names(DROPPED)
        dropped = manifests.keys() - self._kept(manifests, keep)
        for name in dropped - marks.keys():
            self._store.write(f"{DROPPED}/{name}", b"")
        expired = {name for name in dropped & marks.keys() if now - marks[name].modified > GRACE}
        self._store.delete([f"{MANIFESTS}/{name}" for name in expired])
        self._store.delete([f"{DROPPED}/{name}" for name in marks if name not in dropped - expired])
        try:
            named = self._files(manifests.keys() - expired)
        except BadIndex as error:
            log.warning("no files are deleted: %s", error)
            return
        found = self._store.names(FILES).items()
        old = [name for name, listed in found if now - listed.modified > GRACE]
        self._store.delete([f"{FILES}/{name}" for name in old if name not in named])

    def _kept(self, manifests: dict[str, Listed], keep: int) -> set[str]:
        """The manifests to keep."""
        if not self._current:
            return set(manifests)
        newest_first = sorted(manifests, key=lambda name: manifests[name].modified, reverse=True)
        return names_to_keep(newest_first, self._current, manifest_name, keep)

    def _files(self, manifests: set[str]) -> set[str]:
        """The files that some manifests name; raises BadIndex."""
        named = set()
        for name in manifests:
            version, _, sha256 = name.partition("-")
            manifest, _ = read_stored(self._store, VersionRef(version, sha256))
            named |= {file.sha256 for _, file in files_of(self._folders, manifest)}
        return named
