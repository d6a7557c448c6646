"""The three folders of a search server as a cache of the versions in an object storage."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from common.files import replace_bytes
from search.manifest import (
    CURRENT,
    LOCK,
    MANIFEST,
    BadIndex,
    Current,
    File,
    Folders,
    Manifest,
    StoreError,
    VersionRef,
    files_of,
    manifest_of,
    read_current,
    verify,
    write_current,
)
from search.object_store import Content, NoObject, ObjectStore
from search.stored_versions import FILES, decoded, read_stored
from search.version import Choose, Version
from search.version_folders import delete_old, delete_unfinished

FETCHES = 4
"""Files at a time: S3 gives each connection some 80 MB a second."""
Load = Callable[[], Version]
IsStopped = Callable[[], bool]
IsGood = Callable[[Path, File], bool]

log = logging.getLogger(__name__)


class VersionCache:
    """Follows an object storage for one search server; used by one thread."""

    def __init__(self, folders: Folders, store: ObjectStore, choose: Choose, keep: int) -> None:
        """`choose` gives the shards of this server; `keep` versions stay on the disk."""
        self._folders = folders
        self._store = store
        self._choose = choose
        self._keep = keep
        self._known: Content | None = None
        self._current: Current | None = None

    def on_disk(self) -> Current | None:
        """CURRENT of the disk, if all is there that it names: it needs no storage."""
        try:
            current = read_current(self._folders)
            if current and not self._bad(manifest_of(self._folders, current.now), _is_there):
                return current
        except BadIndex:
            pass
        return None

    def current(self) -> Current | None:
        """CURRENT of the storage, None before the first version; raises StoreError, BadIndex."""
        try:
            self._known = self._store.read(CURRENT, self._known)
        except NoObject:
            return None
        self._current = decoded(self._known.data, Current, CURRENT)
        return self._current

    def load(self, named: VersionRef, load: Load, is_stopped: IsStopped) -> Version:
        """Fetch what is missing of a version, then `load` it; what is damaged is fetched anew.

        Raises StoreError, and what `load` raises.
        """
        self._fetch(named, _is_there, is_stopped)
        try:
            return load()
        except BadIndex:
            try:
                is_mended = self._fetch(named, _is_whole, is_stopped)
            except StoreError:
                is_mended = False
            if not is_mended:
                raise
            return load()

    def note(self, named: VersionRef) -> None:
        """Note on the disk that a loaded version is in use, if it is, and delete old versions.

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
        except OSError as error:
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

        def fetch(folder: Path, file: File) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            key = f"{FILES}/{file.sha256}"
            self._store.fetch(key, file, folder, lambda: failed.is_set() or is_stopped())

        with ThreadPoolExecutor(FETCHES) as pool:
            fetches = [pool.submit(fetch, folder, file) for folder, file in files]
            done, _ = wait(fetches, return_when=FIRST_EXCEPTION)
            failed.set()
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
