"""The three folders of a search server as a cache of the versions in an object storage."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import ConfigError, Unavailable
from common.files import LOCK, replace_bytes
from search.manifest import (
    CURRENT,
    MANIFEST,
    BadIndex,
    Current,
    Folders,
    Manifest,
    OtherModel,
    VersionRef,
    decoded,
    files_of,
    manifest_of,
    read_current,
    verify,
    write_current,
)
from search.object_store import Content, NoObject, ObjectStore, StoreError
from search.segment_files import File
from search.stored_versions import FILES, read_stored
from search.version import Choose, Version
from search.version_folders import delete_old, delete_unfinished

FETCHES = 4
"""Files at a time: S3 gives each connection some 80 MB a second."""
Load = Callable[[], Version]
IsStopped = Callable[[], bool]
IsGood = Callable[[Path, File], bool]

log = logging.getLogger(__name__)


class VersionCache:
    """Follows an object storage for one search server; used by one thread.

    If the storage is away, what is on the disk is used, and what is not waits.
    """

    def __init__(self, folders: Folders, store: ObjectStore, choose: Choose, keep: int) -> None:
        """`choose` gives the shards of this server; `keep` versions stay on the disk."""
        self.error = ""
        """Why the storage is not followed now; "" if it is."""
        self._folders = folders
        self._store = store
        self._choose = choose
        self._keep = keep
        self._is_first = True
        self._waiting: VersionRef | None = None  # it cannot be fetched now
        self._known: Content | None = None
        self._current: Current | None = None

    def current(self) -> Current | None:
        """CURRENT of the storage, None if there is none or the storage is away; raises BadIndex.

        The first call asks the disk instead: what is whole there answers at once.
        """
        if self._is_first:
            self._is_first = False
            return self._on_disk()
        try:
            self._known = self._store.read(CURRENT, self._known)
            self._current = decoded(self._known.data, Current, f"{CURRENT} in the object storage")
        except NoObject:
            self._current = None
        except StoreError as error:
            self._tell(str(error))
            return None
        if not self._current or self._current.now != self._waiting:
            self._tell("")
        return self._current

    def _on_disk(self) -> Current | None:
        """CURRENT of the disk if all is there that it names, else None."""
        try:
            current = read_current(self._folders)
            if current and not self._bad(manifest_of(self._folders, current.now), _is_there):
                return current
        except BadIndex:
            pass
        return None

    def load(self, named: VersionRef, load: Load, is_stopped: IsStopped) -> Version:
        """Fetch what is missing of a version, then `load` it; what is damaged is fetched anew.

        Raises Unavailable if it cannot be fetched now, and what `load` raises.
        """
        try:
            self._fetch(named, _is_there, is_stopped)
        except StoreError as error:
            self._waiting = named
            self._tell(str(error))
            raise Unavailable("the index is not fetched yet", "no_index") from None
        self._waiting = None
        self._tell("")
        try:
            return load()
        except OtherModel:
            self.note(named)  # a restart loads it
            raise
        except BadIndex:
            with suppress(StoreError):
                if self._fetch(named, _is_whole, is_stopped):
                    return load()
            raise

    def _tell(self, error: str) -> None:
        if error and not self.error:
            log.error("the object storage is not followed now: %s", error)
        elif self.error and not error:
            log.info("the object storage is followed again")
        self.error = error

    def note(self, named: VersionRef) -> None:
        """Note on the disk that a fetched version is in use, if it is, and delete old versions.

        If another process writes there, nothing happens: it is prepare, which does the same, or a
        server.
        """
        if not (current := self._current) or current.now != named:
            return
        try:
            with self._alone():
                write_current(self._folders, current)
                delete_unfinished(self._folders)
                delete_old(self._folders, current, self._keep)
        except Timeout:
            return
        except (OSError, ConfigError) as error:
            log.warning("%s is not noted on the disk: %s", named.version, error)

    def _fetch(self, named: VersionRef, is_good: IsGood, is_stopped: IsStopped) -> bool:
        """Fetch the files of this server's shards that are not good; returns if there were any."""
        manifest, data = self._manifest(named)
        bad = self._bad(manifest, is_good)
        if not bad and not data:
            return False
        path, began = self._folders.index / named.version / MANIFEST, time.monotonic()
        try:
            with self._alone():
                if data:
                    path.unlink(missing_ok=True)  # of another version with this name
                self._fetch_files(bad, is_stopped)
                if data:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    replace_bytes(path, data)
        except Timeout:
            raise StoreError(f"another process writes into {self._folders.index}") from None
        except OSError as error:
            raise StoreError(f"cannot keep {named.version} on the disk: {error}") from None
        size_mb, took_s = sum(file.size_bytes for _, file in bad) / 1e6, time.monotonic() - began
        told = (named.version, len(bad), size_mb, took_s)
        log.info("version %s: fetched %d files, %.1f MB, in %.3f s", *told)
        return True

    def _fetch_files(self, files: Sequence[tuple[Path, File]], is_stopped: IsStopped) -> None:
        """Fetch some files at a time; the first that fails stops the others."""
        failed = threading.Event()

        def is_over() -> bool:
            return failed.is_set() or is_stopped()

        def fetch(folder: Path, file: File) -> None:
            if is_over():
                raise StoreError(f"{file.name}: stopped")
            folder.mkdir(parents=True, exist_ok=True)
            key = f"{FILES}/{file.sha256}"
            self._store.fetch(key, file, folder, is_over)

        with ThreadPoolExecutor(FETCHES) as pool:
            fetches = [pool.submit(fetch, folder, file) for folder, file in files]
            done, _ = wait(fetches, return_when=FIRST_EXCEPTION)
            failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for ended in done:
                ended.result()

    def _manifest(self, named: VersionRef) -> tuple[Manifest, bytes]:
        """The manifest of a version, and its bytes if it is not on the disk."""
        with suppress(BadIndex):
            return manifest_of(self._folders, named), b""
        return read_stored(self._store, named)

    def _bad(self, manifest: Manifest, is_good: IsGood) -> list[tuple[Path, File]]:
        shards = self._choose(len(manifest.shards))
        files = files_of(self._folders, manifest, shards)
        return [(folder, file) for folder, file in files if not is_good(folder, file)]

    def _alone(self) -> FileLock:
        """The lock of prepare and of other servers on these folders; raises Timeout."""
        self._folders.index.mkdir(parents=True, exist_ok=True)
        return FileLock(self._folders.index / LOCK, timeout=0)


def _is_there(folder: Path, file: File) -> bool:
    """Whether a file is on the disk, by its size."""
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.size_bytes


def _is_whole(folder: Path, file: File) -> bool:
    """Whether a file on the disk is what was written."""
    try:
        verify(folder, file)
    except BadIndex:
        return False
    return True
