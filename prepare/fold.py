"""The fold of the log into a collection: what was put, patched and deleted live since a run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from common.config import Loaded
from common.files import absolute_name, content_hash, location_hash
from common.image_files import read_image_file
from common.images.facts import facts_of
from inference.clip.registry import find_model, shown_name
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.key_table import KeyTable, PathSet
from prepare.lines import Spill
from prepare.member_table import MemberTable
from prepare.members import Folded, Member
from prepare.removals import Removals, Result
from prepare.scan import Listed, RootScan
from prepare.sources import PATH, Found, Source, examine
from prepare.stored import StoredRows
from prepare.told_paths import add_root
from prepare.written import Metadata, moved, source_metadata, taken_over, with_written
from search.image_key import hashes_of, key_of
from search.log import Entries, Entry
from search.messages import Record

UPLOADS = "Live.upload-dir"
"""The root of images that were put and lie below no other root."""
PLACE = np.dtype([("location", "u8"), ("scan", "i4"), ("position", "i8")])
"""Where a file is among those of the scans."""


class Fold:
    """The images of a collection, to which the entries of the log are applied in order."""

    def __init__(
        self,
        members: Sequence[Member],
        folded: Folded,
        scans: Sequence[RootScan],
        loaded: Loaded,
    ) -> None:
        """`members` are those after the last run, `scans` what the roots hold now."""
        self.images = MemberTable(members)
        self.removals = Removals(folded.removed)
        self.changes = Counter[str]()
        """How many entries changed something, by what they do."""
        self.replaced: dict[bytes, Member] = {}
        """The images, by id, at whose paths other content was put: a search server has both."""
        self._folded = folded
        self._base = loaded.root
        self._scans = scans
        self._there = PathSet([])
        self._moved: dict[str, Member] = {}

    @property
    def folded(self) -> Folded:
        """How far the images follow the log."""
        return self._folded._replace(removed=self.removals.all())

    def apply(self, entries: Entries, stored: StoredRows) -> None:
        """Apply the next entries; `stored` has the embeddings of those that are put."""
        for position, entry in entries:
            begin, end = self._folded.own
            is_own = begin < position <= end and self._has(entry)
            is_change = is_own or self._apply(entry, stored)
            if is_change and not is_own:
                self.changes[entry.op] += 1
            changed = position if is_change else self._folded.changed
            self._folded = self._folded._replace(position=position, changed=changed)

    def follow(self, files: Iterable[Listed], results: Iterable[Result]) -> None:
        """Go with files that have moved; `files` are all, `results` what is stored of them."""
        self._there = PathSet(file.source.path for file in files)
        gone = [image for image in self.images if image.path not in self._there]
        contents = {image.content for image in gone} | self.removals.contents()
        if not contents:
            return
        arrived = {
            file.source.path: result.content
            for file, result in results
            if result.content in contents
            and not self.images.get(file.source.path)
            and (file.source.path, result.content) not in self.removals
        }
        self._moved = moved(gone, arrived)
        arrived = {path: arrived[path] for path in arrived.keys() - self._moved.keys()}
        self.removals.follow(self._there, arrived)

    def written(self, member: Member) -> Member:
        """A member with the metadata that was written to it live; after `follow`."""
        before = self.images.get(member.path) or self._moved.get(member.path)
        return with_written(member, before) if before and member.is_searchable else member

    def waiting(self) -> list[Member]:
        """The images that were put with another model, and whose files are not there."""
        roots = {UPLOADS, *(scan.root for scan in self._scans)}
        return [
            image
            for image in self.images
            if not image.is_searchable
            and image.path not in self._there
            and not roots.isdisjoint(image.roots)
        ]

    def _told(self, path: str, before: Metadata) -> Metadata:
        """What the roots tell now of a file; what they told `before`, if they do not hold it."""
        place = self._places.find(location_hash(path))
        if place is None:
            return before
        _, scan, position = place.item()
        metadata: Metadata = self._scans[scan].found.sources[position].metadata
        return metadata

    @cached_property
    def _places(self) -> KeyTable:
        """Where the files of the roots are; the last root counts."""
        places = (
            (location_hash(file.path), number, position)
            for number, scan in enumerate(self._scans)
            for position, file in enumerate(scan.found.sources)
        )
        found = np.fromiter(places, PLACE)
        table = KeyTable(PLACE)
        table.add(found["location"], found)
        return table

    def _apply(self, entry: Entry, stored: StoredRows) -> bool:
        """Whether an entry has changed something: images that are not there stay so."""
        if entry.op == "put":
            self._put(entry, stored)
            return True
        member = self._find(entry.key)
        if member and entry.op == "patch":
            self._patch(entry, member)
        elif member:
            self.images.remove(member.path)
            if UPLOADS in member.roots:
                # Its file went with it: it has not moved to where a copy is.
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
        place = stored.of_content(content)
        member = Member(
            path,
            before.size_bytes if before and is_same else 0,
            before.mtime_ns if before and is_same else 0,
            place.chunk if place else 0,
            place.row if place else -1,
            content,
            before.roots if before else self._roots_of(path),
            record.metadata,
            record.told_from,
            source_metadata=self._told(path, source_metadata(before) if before else {}),
        )
        self.images.put(member)
        self.removals.end(path, content)

    def _patch(self, entry: Entry, member: Member) -> None:
        change = msgspec.msgpack.decode(entry.record, type=Metadata)
        told = self._told(member.path, source_metadata(member))
        removed = {name for name, value in change.items() if value is None}
        metadata = taken_over(member, told) | change
        kept = {name: value for name, value in metadata.items() if name not in removed}
        self.images.put(replace(member, metadata=kept, source_metadata=told))

    def _has(self, entry: Entry) -> bool:
        """Whether the images are as an entry of prepare tells; else others wrote in its place."""
        return entry.op != "patch" and (self._find(entry.key) is None) == (entry.op == "delete")

    def _find(self, key: bytes) -> Member | None:
        """The image with an id."""
        content, location = hashes_of(key)
        member = self.images.at(location)
        return member if member and int(member.content, 16) == content else None

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
        if entry.op == "put" and entry.space == space and not stored.of_content(content):
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


def scan_uploads(images: Iterable[Member], loaded: Loaded, spill: Spill) -> list[RootScan]:
    """The root of what was put and lies below no other root, if there is any such image."""
    if not any(UPLOADS in member.roots for member in images):
        return []
    own = absolute_name(loaded.path(loaded.config.live.upload_dir))
    others: dict[str, str] = {}

    def examined() -> Iterator[Source]:
        for member in images:
            if UPLOADS in member.roots:
                add_root(others, own, member.path)
                yield examine(loaded.root / member.path, source_metadata(member), loaded.root)

    there = (source for source in examined() if source.is_there)
    sources = spill.add(Source, spill.sort(Source, there, PATH))
    return [RootScan(UPLOADS, Found(sources, [], {own, *others.values()}))]
