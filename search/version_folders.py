"""The folders of versions on a disk: which versions go, and how one is deleted."""

import shutil

from search.manifest import MANIFEST, Current, Folders, version_names


def delete_old(folders: Folders, current: Current, keep: int) -> None:
    """Delete versions: of `keep`, the one in use stays, the one before, then the newest others."""
    before = current.before.version if current.before else None
    others = [name for name in version_names(folders.index) if name != current.now.version]
    others.sort(key=lambda name: name == before)
    for name in others[: max(0, len(others) - (keep - 1))]:
        delete_version(folders, name)


def delete_unfinished(folders: Folders) -> None:
    """Delete the versions without a manifest: killed runs left them."""
    for name in version_names(folders.index):
        if not (folders.index / name / MANIFEST).exists():
            delete_version(folders, name)


def delete_version(folders: Folders, version: str) -> None:
    """Delete a version: first its manifest, last its index folder.

    So a version with a manifest is complete, and `delete_unfinished` finds the rest after a kill.
    """
    (folders.index / version / MANIFEST).unlink(missing_ok=True)
    for folder in reversed(folders.all()):
        shutil.rmtree(folder / version, ignore_errors=True)
