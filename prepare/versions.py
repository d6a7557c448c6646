"""The index versions in their three folders: new names, look-up, putting in use, deletion."""

import logging
import shutil

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
    version_names,
    write_current,
)

log = logging.getLogger(__name__)


def next_version(folders: Folders) -> str:
    """Make the three folders of a new version; returns its name.

    Versions without a manifest are deleted: killed runs left them. The name is new in all three
    folders, as another index may share one of them.
    """
    for name in version_names(folders.index):
        if not (folders.index / name / MANIFEST).exists():
            _delete(folders, name)
    numbers = [int(name[1:]) for folder in folders.all() for name in version_names(folder)]
    version = f"v{max(numbers, default=0) + 1:06}"
    for folder in folders.all():
        (folder / version).mkdir(parents=True)
        sync(folder)
    return version


def find_version(folders: Folders, inputs: str) -> Manifest | None:
    """The newest complete version from inputs with this digest, if there is one."""
    for name in reversed(version_names(folders.index)):
        try:
            manifest = read_manifest(folders, name)
            if manifest.inputs == inputs:
                verify_files(folders, manifest)
                return manifest
        except BadIndex as error:
            log.warning("passed over: %s", error)
    return None


def kept_manifests(folders: Folders) -> list[Manifest] | None:
    """The manifests of the kept versions; None if one cannot be read."""
    names = version_names(folders.index)
    whole = [name for name in names if (folders.index / name / MANIFEST).exists()]
    try:
        return [read_manifest(folders, name) for name in whole]
    except BadIndex as error:
        log.warning("no embeddings are dropped, and nothing of the log: %s", error)
        return None


def chunks_of_versions(folders: Folders) -> set[int] | None:
    """The chunks of embeddings that the kept versions are from; None if one does not tell."""
    kept = kept_manifests(folders)
    if kept is None or any(manifest.chunks is None for manifest in kept):
        return None
    return {chunk for manifest in kept for chunk in manifest.chunks or ()}


def current_of(folders: Folders) -> Current | None:
    """The content of CURRENT; None if the file is missing or damaged."""
    try:
        return read_current(folders)
    except BadIndex as error:
        log.warning("passed over: %s", error)
        return None


def put_in_use(folders: Folders, named: VersionRef, keep: int) -> None:
    """Put a version in use, and delete old versions.

    `keep` versions stay: first this version, then the previous version, then the newest others.
    """
    current = current_of(folders)
    if current is None or current.now != named:
        current = Current(named, current.now if current else None)
        write_current(folders, current)
    before = current.before.version if current.before else None
    others = [name for name in version_names(folders.index) if name not in (named.version, before)]
    others += [before] if before else []
    for name in others[: max(0, len(others) - (keep - 1))]:
        _delete(folders, name)


def _delete(folders: Folders, version: str) -> None:
    """Delete a version: first its manifest, last its index folder.

    So a version with a manifest is complete, and `next_version` finds the rest after a kill.
    """
    (folders.index / version / MANIFEST).unlink(missing_ok=True)
    for folder in reversed(folders.all()):
        shutil.rmtree(folder / version, ignore_errors=True)
