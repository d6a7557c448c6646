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

PLAN = "plan-"
"""How the folder of a plan begins (prepare/plans.py), in the folder of its version."""

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
    """Delete the versions without a manifest, which killed runs left, but those with a plan."""
    for name in unfinished(folders):
        if not is_planned(folders, name):
            delete_version(folders, name)


def unfinished(folders: Folders) -> list[str]:
    """The versions without a manifest."""
    names = version_names(folders.index)
    return [name for name in names if not (folders.index / name / MANIFEST).exists()]


def is_planned(folders: Folders, version: str) -> bool:
    """Whether a version has a plan: it may be worked on."""
    return any((folders.index / version).glob(f"{PLAN}*"))


def delete_version(folders: Folders, version: str) -> None:
    """Delete a version: first its manifest, last its index folder.

    So a version with a manifest is complete, and `delete_unfinished` finds the rest after a kill.
    """
    (folders.index / version / MANIFEST).unlink(missing_ok=True)
    for folder in reversed(folders.all()):
        shutil.rmtree(folder / version, ignore_errors=True)


def sweep_segments(folders: Folders) -> None:
    """Delete the segments that no version names.

    Not if a manifest cannot be read, nor while there is a plan: its segments are not named yet.
    Other indexes may share the folders of paths and hashes, so only names that are in the folder of
    indexes are looked for. Its files go last, so that the next run finds the rest after a kill.
    """
    named, not_finished = set[str](), unfinished(folders)
    if any(is_planned(folders, version) for version in not_finished):
        return
    for version in set(version_names(folders.index)) - set(not_finished):
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
