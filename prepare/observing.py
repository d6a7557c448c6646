"""Notice of changes below the roots of a collection, by the system or by listing folders."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from common.config import Loaded
from common.files import absolute_name
from common.roots import read_roots
from prepare.quiet import Quiet

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mountinfo")
CHANGES = ("created", "modified", "moved", "deleted", "closed")
"""Other events tell that a file was read, by us among others."""
REMOTE = re.compile(r"nfs4?|cifs|smb.*|9p|afs|ceph|virtiofs|fuse\.(?!lxcfs).*|glusterfs|ncpfs")
"""File systems of which the system tells only what this machine itself changes."""

Target = tuple[str, bool]
"""A folder, and whether folders below it count, too."""


class Observing:
    """Notes what changes below folders; a context manager."""

    def __init__(self, quiet: Quiet, ours: Iterable[str], poll_s: float, *, polls: bool) -> None:
        """`ours` is how absolute paths begin to which prepare itself writes.

        Folders of network shares are listed each `poll_s` seconds; with `polls`, all are.
        """
        self._quiet = quiet
        self._ours = tuple(ours)
        self._poll_s = poll_s
        self._polls = polls
        self._observers: list[BaseObserver] = []
        self._seen: object = None

    def __enter__(self) -> "Observing":
        return self

    def __exit__(self, *_: object) -> None:
        for observer in self._observers:
            observer.stop()
            observer.join()
        self._observers = []

    def follow(self, targets: set[Target]) -> bool:
        """Observe these folders; whether they are others than before, or mounted otherwise."""
        mounts = _mounts()
        seen = sorted((*target, _inode(target[0])) for target in targets), mounts
        if seen == self._seen:
            return False
        self.__exit__()
        self._seen = seen
        for folder, below in sorted(targets):
            if os.path.isdir(folder):
                self._observe(folder, below, polls=self._polls or _is_remote(folder, mounts))
        return True

    def _observe(self, folder: str, below: bool, *, polls: bool) -> None:
        handler = _Handler(self._quiet, self._ours, closes=not polls)
        observer = PollingObserver(timeout=self._poll_s) if polls else Observer()
        try:
            observer.schedule(handler, folder, recursive=below)
            observer.start()
        except OSError as error:
            if polls:
                raise
            log.warning("%s: %s: it is listed each %s s", folder, error, self._poll_s)
            self._observe(folder, below, polls=True)
        else:
            self._observers.append(observer)
            if polls:  # a file is whole if two looks at it are alike
                self._quiet.wait_longer(2 * self._poll_s)


class _Handler(FileSystemEventHandler):
    """Notes events, from the threads of observers."""

    def __init__(self, quiet: Quiet, ours: tuple[str, ...], *, closes: bool) -> None:
        """With `closes`, the system tells when a file that was written to is closed."""
        self._quiet = quiet
        self._ours = ours
        self._closes = closes

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a change."""
        path = absolute_name(os.fsdecode(event.src_path))
        if event.event_type not in CHANGES or f"{path}/".startswith(self._ours):
            return
        is_open = self._closes and event.event_type == "modified" and not event.is_directory
        self._quiet.note(path, is_open=is_open)


def targets_of(loaded: Loaded) -> set[Target]:
    """The folders to observe: the roots, and those in which lists, tables and files lie."""
    roots = read_roots(loaded.path(loaded.config.prepare.embedding_dir))
    names = roots.names if roots else loaded.config.prepare.images
    paths = [Path(absolute_name(loaded.root / name)) for name in names]
    return {(str(path.parent), False) if path.is_file() else (str(path), True) for path in paths}


def own_paths(loaded: Loaded) -> Iterator[str]:
    """How the paths begin to which prepare writes, and who serves; a folder ends in /."""
    prepare = loaded.config.prepare
    for name in (prepare.embedding_dir, prepare.index_dir, prepare.path_dir, prepare.hash_dir):
        yield f"{absolute_name(loaded.path(name))}/"
    yield f"{absolute_name(loaded.path(loaded.config.front.rendition_dir))}/"
    kind, _, name = (loaded.config.log or "").partition(":")
    if kind == "sqlite":
        yield absolute_name(loaded.path(name))


def _mounts() -> list[list[str]]:
    """The lines of what is mounted, in fields; none where the system does not tell."""
    with suppress(OSError):
        return [line.split() for line in MOUNTS.read_text().splitlines()]
    return []


def _is_remote(folder: str, mounts: Iterable[list[str]]) -> bool:
    """Whether a folder lies on a network share, by proc_pid_mountinfo(5)."""
    real, kind, longest = os.path.realpath(folder), "", ""
    for fields in mounts:
        at = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        if len(at) >= len(longest) and Path(real).is_relative_to(at):
            longest, kind = at, fields[fields.index("-") + 1]
    return REMOTE.fullmatch(kind) is not None


def _inode(folder: str) -> tuple[int, int]:
    with suppress(OSError):
        found = os.stat(folder)
        return found.st_dev, found.st_ino
    return 0, 0
