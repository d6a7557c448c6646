"""The index versions in their three folders: named, found again, put in use, and pruned."""

import logging
import re
import shutil
from pathlib import Path

from common.files import sync
from search.manifest import (
    MANIFEST,
    BadIndex,
    Current,
    Folders,
    Manifest,
    VersionRef,
    read_current,
    read_manifest,
    verify_files,
    write_current,
)

log = logging.getLogger(__name__)

NAME = re.compile(r"v(\d{6,})")


def next_version(folders: Folders) -> str:
    """A fresh name, and its three folders; what a killed run left under no manifest is deleted.

    The name is new in each of the folders, as another index may share some of them.
    """
    for name in _names(folders.index):
        if not (folders.index / name / MANIFEST).exists():
            _delete(folders, name)
    numbers = [int(name[1:]) for folder in folders.all() for name in _names(folder)]
    version = f"v{max(numbers, default=0) + 1:06}"
    for folder in folders.all():
        (folder / version).mkdir(parents=True)
        sync(folder)
    return version


def find_version(folders: Folders, inputs: str) -> Manifest | None:
    """The newest whole version that was made from `inputs`, if there is one."""
    for name in reversed(_names(folders.index)):
        try:
            manifest = read_manifest(folders, name)
            if manifest.inputs == inputs:
                verify_files(folders, manifest)
                return manifest
        except BadIndex as error:
            log.warning("passed over: %s", error)
    return None


def current_of(folders: Folders) -> Current | None:
    """What CURRENT says; None where it says nothing that can be read."""
    try:
        return read_current(folders)
    except BadIndex as error:
        log.warning("passed over: %s", error)
        return None


def put_in_use(folders: Folders, named: VersionRef, keep: int) -> None:
    """Put a version in use, and delete all but it, the one before it and the last of the others.

    `keep` is how many stay in all.
    """
    current = current_of(folders)
    if current is None or current.now != named:
        current = Current(named, current.now if current else None)
        write_current(folders, current)
    before = current.before.version if current.before else None
    others = [name for name in _names(folders.index) if name not in (named.version, before)]
    others += [before] if before else []
    for name in others[: max(0, len(others) - (keep - 1))]:
        _delete(folders, name)


def _names(folder: Path) -> list[str]:
    """The versions that lie in a folder, the oldest first."""
    names = [path.name for path in folder.glob("v*") if NAME.fullmatch(path.name)]
    return sorted(names, key=lambda name: int(name[1:]))


def _delete(folders: Folders, version: str) -> None:
    """Delete a version: its manifest first, so that it is never torn, and what names it last."""
    (folders.index / version / MANIFEST).unlink(missing_ok=True)
    for folder in reversed(folders.all()):
        shutil.rmtree(folder / version, ignore_errors=True)
