"""The folders of versions on a disk: which versions and segments go, and how one is deleted."""

import logging
import shutil
from collections.abc import Callable, Sequence

from common.files import sweep_temporary
from search.manifest import (
    MANIFEST,
    SEGMENTS,
    BadIndex,
    Current,
    Folders,
    VersionRef,
    read_manifest,
    version_names,
)

log = logging.getLogger(__name__)


def names_to_keep(
    names: Sequence[str], current: Current, name_of: Callable[[VersionRef], str], keep: int
) -> set[str]:
    """Of versions, those that stay: the one in use, the one before, then the newest, `keep` in all.

    `names` has the newest first; `name_of` gives the name that a version has there.
    """
    named = [current.now, *([current.before] if current.before else [])]
    first = [name for name in map(name_of, named) if name in names]
    others = [name for name in names if name not in first]
    return set([*first, *others][:keep])


def delete_old(folders: Folders, current: Current, keep: int) -> None:
    """Delete the versions that are not kept, the segments that only they have, and leftovers."""
    sweep_temporary(folders.index)
    names = version_names(folders.index)
    kept = names_to_keep(names[::-1], current, lambda named: named.version, keep)
    for name in names:
        if name not in kept:
            delete_version(folders, name)
    sweep_segments(folders)


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


def sweep_segments(folders: Folders) -> None:
    """Delete the segments that no version names, unless a manifest cannot be read.

    Other indexes may share the folders of paths and hashes, so only names that are in the folder of
    indexes are looked for. Its files go last, so that the next run finds the rest after a kill.
    """
    named = set[str]()
    for version in version_names(folders.index):
        if not (folders.index / version / MANIFEST).exists():
            continue  # as long as it is not finished, it takes part in no version
        try:
            named.update(segment.name for segment in read_manifest(folders, version).segments)
        except BadIndex as error:
            log.warning("no segments are deleted: %s", error)
            return
    found = {path.name.partition(".")[0] for path in (folders.index / SEGMENTS).glob("*")}
    for name in found - named:
        for folder in reversed(folders.all()):
            for path in (folder / SEGMENTS).glob(f"{name}.*"):
                path.unlink()
