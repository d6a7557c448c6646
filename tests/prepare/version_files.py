"""The files of index versions in a workspace."""

from pathlib import Path

from search.manifest import SEGMENTS, files_of_segment, read_manifest
from tests.prepare.prepared_folder import Workspace


def files_in_use(workspace: Workspace) -> dict[str, Path]:
    """The files of the version in use but for its manifest.

    "0-1.keys" is of the second segment of shard 0.
    """
    manifest, found = workspace.manifest(), {}
    for number, shard in enumerate(manifest.shards):
        for place, segment in enumerate(shard.segments):
            for folder, file in files_of_segment(workspace.folders, segment):
                found[f"{number}-{place}{Path(file.name).suffix}"] = folder / file.name
        if shard.tombstones:
            path = workspace.folders.index / manifest.version / shard.tombstones.name
            found[path.name] = path
    return found


def named_segments(workspace: Workspace) -> set[Path]:
    """The files of segments that the manifests name."""
    folders = workspace.folders
    manifests = [read_manifest(folders, name) for name in workspace.versions()[0]]
    return {
        folder / file.name
        for manifest in manifests
        for segment in manifest.segments
        for folder, file in files_of_segment(folders, segment)
    }


def found_segments(workspace: Workspace) -> set[Path]:
    """The files of segments that are there."""
    return {path for one in workspace.folders.all() for path in (one / SEGMENTS).iterdir()}
