"""The manifest of an index version: its contents, its settings, the digest of every file."""

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from common.errors import ConfigError
from common.files import read_regular, replace_bytes, sha256_of
from search.messages import Fields, Sharding
from search.segment_files import File, SegmentFiles, ShardFiles
from search.self_hash import Message, read_self_hashed, with_self_hash

CURRENT = "CURRENT"
MANIFEST = "MANIFEST"
SEGMENTS = "segments"
"""In each of the three folders, the folder of the segments of all versions."""
FORMAT = 6
"""To be increased with each change of the files that this code cannot read as well. No other is
read."""
DISTANCE = "ip"
"""hnswlib's name for 1 - inner product, which for unit vectors is 1 - cosine."""
MAX_BYTES = 2**28
"""Of a manifest; one shard takes less than 2 KiB."""
VERSION = re.compile(r"v\d{6,}")


class BadIndex(Exception):
    """A version cannot be loaded; the message says which file and why."""


class OtherModel(BadIndex):
    """A version is of another model than the one in use."""


class Recall(msgspec.Struct, frozen=True):
    """The share of the true nearest `k` that the index finds, measured when it was built."""

    k: int
    queries: int
    ef_search: int
    value: float


class VersionRef(msgspec.Struct, frozen=True):
    """A version by its name and the digest of its manifest, as a name may be used again."""

    version: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The manifest of one version. It is written last: a version with a manifest is complete.

    The segments that it names are in SEGMENTS; all else is in the folder of the version.
    """

    version: str
    created: str
    model: str
    space: str
    preprocessing: int
    dim: int
    distance: str
    M: int
    ef_construction: int
    count: int
    inputs: str
    """Digest of the embeddings and the settings; equal inputs need no new version."""
    recall: Recall
    shards: list[ShardFiles]
    chunks: list[int] | None = None
    """The chunks of embeddings that the version is from; None of an earlier release."""
    fields: Fields = {}
    """What filters can test."""
    sharding: Sharding = "range"
    log_id: str = ""
    """The log of which the version has all entries up to `log_position`; "" for none."""
    log_position: int = 0
    format: int = FORMAT
    regions: int = 0
    """Vectors of regions, beside those of whole images."""
    sha256: str = ""
    """The digest of the manifest itself: see search/self_hash.py."""

    @property
    def named(self) -> VersionRef:
        """The name and digest by which CURRENT names this version."""
        return VersionRef(self.version, self.sha256)

    @property
    def segments(self) -> Iterator[SegmentFiles]:
        """The segments of all shards."""
        return (segment for shard in self.shards for segment in shard.segments)


class _Format(msgspec.Struct):
    """All that is common to the manifests of all releases."""

    sha256: str
    format: int = 0


class Current(msgspec.Struct, frozen=True):
    """The content of CURRENT: the version in use, and the version to go back to."""

    now: VersionRef
    before: VersionRef | None = None
    sha256: str = ""
    """The digest of the file itself: see search/self_hash.py."""


class Folders(msgspec.Struct, frozen=True):
    """The three folders that hold versions. In each, a version is a folder with its name."""

    index: Path
    paths: Path
    hashes: Path

    def all(self) -> tuple[Path, Path, Path]:
        """The three folders."""
        return self.index, self.paths, self.hashes


def read_current(folders: Folders) -> Current | None:
    """The content of CURRENT, or None before the first version; raises BadIndex."""
    path = folders.index / CURRENT
    return _read(path, Current) if path.exists() or path.is_symlink() else None


def write_current(folders: Folders, current: Current) -> None:
    """Replace CURRENT in one step, which puts a version in use; raises ConfigError."""
    path = folders.index / CURRENT
    try:
        replace_bytes(path, with_self_hash(current))
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder: remove it, then run this again") from None


def version_names(folder: Path) -> list[str]:
    """The names of the versions in a folder, the oldest first."""
    names = [path.name for path in folder.glob("v*") if VERSION.fullmatch(path.name)]
    return sorted(names, key=lambda name: int(name[1:]))


def newest_first(folders: Folders) -> Iterator[VersionRef]:
    """The versions that have a manifest. CURRENT names the one to use: this is for its loss."""
    for name in reversed(version_names(folders.index)):
        try:
            yield read_manifest(folders, name).named
        except BadIndex:  # not finished, or damaged
            continue


def read_manifest(folders: Folders, version: str) -> Manifest:
    """Read the manifest of a version; raises BadIndex."""
    manifest = _read(folders.index / version / MANIFEST, Manifest)
    if manifest.version != version or manifest.distance != DISTANCE:
        raise BadIndex(f"{version}: its {MANIFEST} is of another version or distance")
    return manifest


def manifest_of(folders: Folders, named: VersionRef) -> Manifest:
    """The manifest of a version; raises BadIndex for a manifest with another digest."""
    manifest = read_manifest(folders, named.version)
    if manifest.named != named:
        raise BadIndex(f"{named.version}: its {MANIFEST} is another than {CURRENT} says")
    return manifest


def manifest_in_use(folders: Folders) -> Manifest:
    """The manifest of the version in use; raises BadIndex."""
    if not (current := read_current(folders)):
        raise BadIndex(f"{folders.index}: no version is in use")
    return manifest_of(folders, current.now)


def write_manifest(folders: Folders, manifest: Manifest) -> Manifest:
    """Write the manifest, which completes the version; returns the manifest with its digest."""
    replace_bytes(folders.index / manifest.version / MANIFEST, with_self_hash(manifest))
    return read_manifest(folders, manifest.version)


def _read(path: Path, kind: type[Message]) -> Message:
    try:
        return decoded(read_regular(path, MAX_BYTES), kind, str(path))
    except OSError as error:
        raise BadIndex(f"{path}: {error.strerror}") from None


def decoded(data: bytes, kind: type[Message], name: str) -> Message:
    """The Manifest or Current in a file of this name; raises BadIndex."""
    try:
        if kind is Manifest and read_self_hashed(data, _Format).format != FORMAT:
            raise BadIndex(
                f"{name} was made by another release: run prepare, which builds the index anew "
                "from the stored embeddings"
            )
        return read_self_hashed(data, kind)
    except (ValueError, msgspec.DecodeError) as error:
        raise BadIndex(f"{name}: {error}") from None


def verify(folder: Path, file: File) -> Path:
    """The path of a file whose size and digest are as in the manifest; raises BadIndex."""
    path = folder / file.name
    try:
        if path.stat().st_size != file.size_bytes:
            raise BadIndex(f"{path}: {path.stat().st_size} bytes, not {file.size_bytes}")
        if sha256_of(path) != file.sha256:
            raise BadIndex(f"{path}: its contents are not those that were written")
    except OSError as error:
        raise BadIndex(f"{path}: {error.strerror}") from None
    return path


def verify_files(files: Iterable[tuple[Path, File]]) -> None:
    """Check files, each after its folder; raises BadIndex that names the first changed file."""
    for folder, file in files:
        verify(folder, file)


def files_of(
    folders: Folders, manifest: Manifest, shards: Collection[int] | None = None
) -> Iterator[tuple[Path, File]]:
    """The files of a version, or of some of its shards, each after the folder that it lies in."""
    for number, shard in enumerate(manifest.shards):
        if shards is not None and number not in shards:
            continue
        for segment in shard.segments:
            yield from files_of_segment(folders, segment)
        if shard.tombstones:
            yield folders.index / manifest.version, shard.tombstones


def files_of_segment(folders: Folders, segment: SegmentFiles) -> Iterator[tuple[Path, File]]:
    """The files of a segment, each after the folder that it lies in."""
    for folder, files in zip(folders.all(), segment.by_folder(), strict=True):
        for file in files:
            yield folder / SEGMENTS, file


def folders_of(root: Path, index_dir: str, path_dir: str, hash_dir: str) -> Folders:
    """The folders that config.json names, relative to `root`; raises ConfigError."""
    folders = Folders(root / index_dir, root / path_dir, root / hash_dir)
    if len(set(folders.all())) != 3:
        raise ConfigError("config: Prepare.index-dir, path-dir and hash-dir must be three folders")
    return folders
