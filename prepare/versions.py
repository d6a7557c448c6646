"""The index versions in their three folders: new names, look-up, putting in use, deletion."""

import logging
from collections.abc import Callable, Container, Set
from typing import TYPE_CHECKING

from common.files import sync
from common.settings.prepare import Prepare
from inference.clip import images
from prepare.chunks import EmbeddingFolder
from prepare.journal import JournalEntry
from prepare.plans import open_plans, sweep_unplanned
from search.manifest import (
    FORMAT,
    MANIFEST,
    BadIndex,
    Current,
    Folders,
    Manifest,
    VersionRef,
    files_of,
    manifest_in_use,
    read_current,
    read_manifest,
    verify_files,
    version_names,
    write_current,
)
from search.version_folders import (
    delete_old,
    delete_version,
    is_planned,
    sweep_segments,
    unfinished,
)

if TYPE_CHECKING:
    from prepare.publishing import Publisher

Publish = Callable[[Current], None]
"""Puts a version in use in an object storage (`publishing.Publisher.publish`)."""

log = logging.getLogger(__name__)


def publisher_to(url: str | None, folders: Folders) -> "Publisher | None":
    """What puts versions into the object storage at `url`; None where there is none.

    Raises ConfigError, MissingPackage.
    """
    if url is None:
        return None
    from prepare.publishing import begin_publishing  # imported here, as its package is optional

    return begin_publishing(url, folders)


def next_version(folders: Folders) -> str:
    """Make the three folders of a new version; returns its name.

    Versions without a manifest are deleted, and the segments that no version names: killed runs
    left them. But one that has a plan and the name of the next version is gone on with. The name is
    new in all three folders, as another index may share one of them.
    """
    left = unfinished(folders)
    names = [name for folder in folders.all() for name in version_names(folder)]
    if current := current_of(folders):  # in an object storage, it may be another machine's
        names.append(current.now.version)
    numbers = [int(name[1:]) for name in names if name not in left]
    version = f"v{max(numbers, default=0) + 1:06}"
    for name in left:
        if name != version or not is_planned(folders, name):
            delete_version(folders, name)
    sweep_segments(folders)
    for folder in folders.all():
        (folder / version).mkdir(parents=True, exist_ok=True)
        sync(folder)
    return version


def sweep_version(folders: Folders, manifest: Manifest) -> None:
    """Delete what a version was built from or with: all in its folders that is not of it."""
    for plan in open_plans(folders.index / manifest.version):
        plan.close()
    sweep_unplanned(folders.index / manifest.version)
    files = {shard.tombstones.name for shard in manifest.shards if shard.tombstones}
    for folder in folders.all():
        for path in (folder / manifest.version).glob("*"):  # copies leave out empty folders
            if path.name not in files | {MANIFEST}:
                path.unlink()


def find_version(folders: Folders, inputs: str) -> Manifest | None:
    """The newest complete version from inputs with this digest, if there is one."""
    for name in reversed(version_names(folders.index)):
        try:
            manifest = read_manifest(folders, name)
            if manifest.inputs == inputs:
                verify_files(files_of(folders, manifest))
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


def version_to_extend(
    folders: Folders, prepare: Prepare, entry: JournalEntry, shard_count: int
) -> Manifest | None:
    """The version in use, if a new version with these settings may have segments of it."""
    try:
        before = manifest_in_use(folders)
    except BadIndex:  # there is none, or `find_version` has told why
        return None
    kinds = {segment.kind for segment in before.segments}
    made = (
        *(before.format, before.preprocessing, before.sharding, len(before.shards), kinds),
        *(before.space, before.dim, before.M, before.ef_construction),
    )
    wanted = (
        *(FORMAT, images.VERSION, "range", shard_count, {prepare.index}),
        *(entry.space, entry.dim, prepare.M, prepare.ef_construction),
    )
    return before if made == wanted else None


def chunks_of_versions(folders: Folders) -> set[int] | None:
    """The chunks of embeddings that the kept versions are from; None if one does not tell."""
    kept = kept_manifests(folders)
    if kept is None or any(manifest.chunks is None for manifest in kept):
        return None
    return {chunk for manifest in kept for chunk in manifest.chunks or ()}


def drop_unused(
    embeddings: EmbeddingFolder, folders: Folders, used: Set[int], spaces: Container[str]
) -> None:
    """Drop the chunks of some spaces that are neither `used` nor what a kept version is from."""
    of_versions = chunks_of_versions(folders)
    if of_versions is None:
        return
    used = used | of_versions
    entries = [entry for entry in embeddings.entries() if entry.space in spaces]
    if unused := [entry.chunk for entry in entries if entry.chunk not in used]:
        embeddings.drop(unused)
        embeddings.sweep()


def current_of(folders: Folders) -> Current | None:
    """The content of CURRENT; None if the file is missing or damaged."""
    try:
        return read_current(folders)
    except BadIndex as error:
        log.warning("passed over: %s", error)
        return None


def put_in_use(
    folders: Folders, named: VersionRef, keep: int, publish: Publish | None = None
) -> None:
    """Put a version in use, in an object storage first if there is one; delete old versions.

    `keep` versions stay: first this version, then the previous version, then the newest others.
    """
    before = current_of(folders)
    current = before
    if current is None or current.now != named:
        current = Current(named, before.now if before else None)
    if publish:
        publish(current)
    if current != before:
        write_current(folders, current)
    delete_old(folders, current, keep)
