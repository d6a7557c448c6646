"""The fold of the log into a collection: what was put, patched and deleted live since a run."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from common.config import Loaded
from common.files import content_hash, location_hash
from common.image_files import read_image_file
from common.images.facts import facts_of
from inference.clip.registry import find_model, shown_name
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.members import Folded, Member
from prepare.removals import Removals, Result
from prepare.scan import RootScan
from prepare.sources import Found, Source, examine
from prepare.stored import StoredRows
from prepare.told_paths import add_root
from prepare.written import Metadata, moved, source_metadata, taken_over, with_written
from search.image_key import key_of
from search.log import Entries, Entry
from search.messages import Record

UPLOADS = "Live.upload-dir"
"""The root of images that were put and lie below no other root."""


class Fold:
    """The images of a collection, to which the entries of the log are applied in order."""

    def __init__(
        self,
        members: Iterable[Member],
        folded: Folded,
        scans: Sequence[RootScan],
        loaded: Loaded,
    ) -> None:
        """`members` are those after the last run, `scans` what the roots hold now."""
        self.images = {member.path: member for member in members if member.content}
        self.removals = Removals(folded.removed)
        self.changes = Counter[str]()
        """How many entries changed something, by what they do."""
        self.replaced: dict[bytes, Member] = {}
        """The images, by id, at whose paths other content was put: a search server has both."""
        self._folded = folded
        self._base = loaded.root
        self._scans = scans
        self._paths: defaultdict[str, set[str]] = defaultdict(set)
        self._moved: dict[str, Member] = {}

    @property
    def folded(self) -> Folded:
        """How far the images follow the log."""
        return self._folded._replace(removed=self.removals.all())

    def apply(self, entries: Entries, stored: StoredRows) -> None:
        """Apply the next entries; `stored` has the embeddings of those that are put."""
        if not self._paths:
            for member in self.images.values():
                self._paths[member.content].add(member.path)
        for position, entry in entries:
            begin, end = self._folded.own
            is_own = begin < position <= end
            is_change = is_own or self._apply(entry, stored)
            if is_change and not is_own:
                self.changes[entry.op] += 1
            changed = position if is_change else self._folded.changed
            self._folded = self._folded._replace(position=position, changed=changed)

    def keep_out(self, sources: Iterable[Source], results: Sequence[Result]) -> list[Result]:
        """What was found in files, but for deleted images; `sources` are all files."""
        there = {source.path for source in sources}
        arrived = {
            source.path: result.content
            for source, result in results
            if source.path not in self.images and (source.path, result.content) not in self.removals
        }
        gone = [image for image in self.images.values() if image.path not in there]
        self._moved = moved(gone, arrived)
        arrived = {path: arrived[path] for path in arrived.keys() - self._moved.keys()}
        self.removals.follow(there, arrived)
        return self.removals.keep_out(results)

    def written(self, member: Member) -> Member:
        """A member with the metadata that was written to it live."""
        before = self.images.get(member.path) or self._moved.get(member.path)
        return with_written(member, before) if before and member.is_searchable else member

    def waiting(self, sources: Iterable[Source]) -> list[Member]:
        """The images that were put with another model, and whose files are not there."""
        there = {source.path for source in sources}
        roots = {UPLOADS, *(scan.root for scan in self._scans)}
        return [
            image
            for image in self.images.values()
            if not image.is_searchable
            and image.path not in there
            and not roots.isdisjoint(image.roots)
        ]

    @cached_property
    def _told(self) -> dict[str, Metadata]:
        """What the roots tell now, by path."""
        return {file.path: file.metadata for scan in self._scans for file in scan.found.sources}

    def _apply(self, entry: Entry, stored: StoredRows) -> bool:
        """Whether an entry has changed something: images that are not there stay so."""
        if entry.op == "put":
            self._put(entry, stored)
            return True
        member = self._find(entry.key)
        if member and entry.op == "patch":
            self._patch(entry, member)
        elif member:
            del self.images[member.path]
            if (
                UPLOADS in member.roots
            ):  # its file went with it: it has not moved to where a copy is
                member = replace(member, size_bytes=0, mtime_ns=0)
            self.removals.add(member)
        elif entry.op == "delete" and entry.key in self.replaced:
            self.removals.add(self.replaced.pop(entry.key))
            return True
        return member is not None

    def _put(self, entry: Entry, stored: StoredRows) -> None:
        record = msgspec.msgpack.decode(entry.record, type=Record)
        path, content = record.path, entry.key[:8].hex()
        before = self.images.get(path)
        is_same = before is not None and before.content == content
        if before and not is_same:
            self.replaced[key_of(before.content, path, "")[:16]] = before
        self.replaced.pop(entry.key[:16], None)
        place = stored.by_content.get(content)
        self.images[path] = Member(
            path,
            before.size_bytes if before and is_same else 0,
            before.mtime_ns if before and is_same else 0,
            place.chunk if place else 0,
            place.row if place else -1,
            content,
            before.roots if before else self._roots_of(path),
            record.metadata,
            record.told_from,
            source_metadata=self._told.get(path, source_metadata(before) if before else {}),
        )
        self._paths[content].add(path)
        self.removals.end(path, content)

    def _patch(self, entry: Entry, member: Member) -> None:
        change = msgspec.msgpack.decode(entry.record, type=Metadata)
        told = self._told.get(member.path, source_metadata(member))
        removed = {name for name, value in change.items() if value is None}
        metadata = taken_over(member, told) | change
        kept = {name: value for name, value in metadata.items() if name not in removed}
        self.images[member.path] = replace(member, metadata=kept, source_metadata=told)

    def _find(self, key: bytes) -> Member | None:
        """The image with an id."""
        content, location = key[:8].hex(), int.from_bytes(key[8:16], "big")
        for path in self._paths[content]:
            member = self.images.get(path)
            if member and member.content == content and location_hash(path) == location:
                return member
        return None

    def _roots_of(self, path: str) -> tuple[str, ...]:
        place = self._base / path
        names = [scan.root for scan in self._scans]
        above = [name for name in names if place.is_relative_to(self._base / name)]
        return tuple(above) or (UPLOADS,)


def store_vectors(
    entries: Entries, folder: EmbeddingFolder, stored: StoredRows, loaded: Loaded, space: str
) -> None:
    """Write the embeddings of images that are put as a chunk, each content once.

    Those of another space are not used. The sizes and times of the files are not known here.
    """
    new: dict[str, Entry] = {}
    for _, entry in entries:
        content = entry.key[:8].hex()
        if entry.op == "put" and entry.space == space and content not in stored.by_content:
            new[content] = entry
    if not new:
        return
    rows = [_row(entry, content, loaded.root) for content, entry in new.items()]
    vectors = np.stack([np.frombuffer(entry.vector, "<f4") for entry in new.values()])
    number = folder.next_chunk()
    name = loaded.config.inference.clip
    model = shown_name(name, find_model(name, loaded.root))
    folder.write(number, Chunk(vectors, rows, []), model, space)
    stored.add(number, rows)


def _row(entry: Entry, content: str, root: Path) -> Row:
    """The row of an image that is put, with what its EXIF tells while its file is there."""
    path = msgspec.msgpack.decode(entry.record, type=Record).path
    facts: dict[str, str] = {}
    with suppress(OSError):
        data = read_image_file(root / path)
        facts = facts_of(data) if content_hash(data) == content else {}
    return Row(path, 0, 0, content, entry.key[16:24].hex(), facts=facts)


def scan_uploads(images: Iterable[Member], loaded: Loaded) -> list[RootScan]:
    """The root of what was put and lies below no other root, if there is any such image."""
    held = [member for member in images if UPLOADS in member.roots]
    if not held:
        return []
    own = str(loaded.path(loaded.config.live.upload_dir))
    others: dict[str, str] = {}
    sources = []
    for member in held:
        source = examine(Path(loaded.root / member.path), source_metadata(member), loaded.root)
        if source.is_there:
            sources.append(source)
        add_root(others, own, member.path)
    return [RootScan(UPLOADS, Found(sources, [], {own, *others.values()}))]
