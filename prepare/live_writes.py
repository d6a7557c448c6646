"""What a run has found goes to the log, so that search servers have it before an index is built."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from operator import eq

from common.config import Loaded
from common.wire import encode
from prepare.chunks import EmbeddingFolder
from prepare.collection import record_of
from prepare.embed_run import EmbedRun
from prepare.live_log import live_log, pages
from prepare.lock import locked
from prepare.member_table import MemberTable
from prepare.members import Member, read_folded, read_members, write_members
from search.image_key import key_of
from search.log import Entry, Log, LogMoved
from search.manifest import BadIndex, folders_of, manifest_in_use

MOST = 1000
"""Changes that go to the log; for more an index is built, as search servers compare each of them
with each query. At half of Live.max-delta, too."""
LOOKS = 10
"""So often it is tried to append behind what others write; each try takes a few milliseconds."""


def write_live(loaded: Loaded, outcome: EmbedRun) -> int | None:
    """Append what a run has changed to the log; returns how much that is.

    None if that cannot be, so that an index must be built: there is no log or another, or the index
    in use is of another model, or there is too much, or others have since written to the same
    images or to the collection. Raises ConfigError.
    """
    most = min(MOST, loaded.config.live.max_delta // 2)
    put, gone = _changes(outcome, most)
    count = len(put) + len(gone)
    if not count or count > most:
        return None if count else 0
    folder = EmbeddingFolder(loaded.path(loaded.config.prepare.embedding_dir))
    with locked(folder.path), live_log(loaded) as log:
        if log is None or not _are_same(read_members(folder), outcome.members):
            return None
        entries = [*_puts(folder, put), *map(_delete, gone)]
        folded = read_folded(folder)
        spaces = {entry.space for entry in entries if entry.op == "put"}
        if folded.log_id not in ("", log.id()) or spaces - {_space_in_use(loaded)}:
            return None
        if (last := _append(log, entries, folded.position)) is None:
            return None
        folded = folded._replace(log_id=log.id(), own=(last - count, last))
        write_members(folder, outcome.members, folded)
        return count


def _append(log: Log, entries: Sequence[Entry], known: int) -> int | None:
    """Append entries behind those that others have written after the `known` position.

    Returns the last position. None if the log ends before `known`, if others have written to the
    same images, or if they write so much that each look finds more.
    """
    images = {entry.key[:16] for entry in entries}
    for _ in range(LOOKS):
        if (end := log.end()) < known:
            return None
        since = pages(log, known, end, MOST)
        if any(entry.key[:16] in images for page in since for _, entry in page):
            return None
        try:
            return log.append(entries, after=end)
        except LogMoved:
            known = end
    return None


def _are_same(members: Sequence[Member], others: Sequence[Member]) -> bool:
    return len(members) == len(others) and all(map(eq, members, others))


def _changes(outcome: EmbedRun, most: int) -> tuple[list[Member], list[Member]]:
    """The images that are new or otherwise than before, and those that are gone.

    If either are more than `most`, not all of them.
    """
    now = MemberTable(outcome.members)
    put = (
        member
        for member in now
        if member.is_searchable and not _is_as(member, outcome.before.get(member.path))
    )
    before = (member for member in outcome.before if member.is_searchable)
    gone = (
        member
        for member in chain(before, outcome.replaced)
        if (image := now.get(member.path)) is None or image.content != member.content
    )
    return list(islice(put, most + 1)), list(islice(gone, most + 1))


def _is_as(now: Member, before: Member | None) -> bool:
    """Whether search servers know all of an image; who put it may not know the size and time."""
    if before is None or not before.is_searchable:
        return False
    file = now.size_bytes, now.mtime_ns
    return (
        (now.content, now.metadata, now.told_from, now.offline)
        == (before.content, before.metadata, before.told_from, before.offline)
    ) and (before.size_bytes, before.mtime_ns) in (file, (0, 0))


def _puts(folder: EmbeddingFolder, members: Iterable[Member]) -> list[Entry]:
    by_chunk = defaultdict(list)
    for member in members:
        by_chunk[member.chunk].append(member)
    puts = []
    for chunk in folder.entries():
        if held := by_chunk.get(chunk.chunk):
            rows, vectors = folder.rows(chunk.chunk), folder.vectors(chunk)
            for member in held:
                row, vector = rows[member.row], vectors[member.row].tobytes()
                key = key_of(row.content, member.path, row.perceptual)
                record = encode(record_of(member, row))
                puts.append(Entry("put", key, chunk.space, vector, record))
    return puts


def _delete(member: Member) -> Entry:
    return Entry("delete", key_of(member.content, member.path, "")[:16])


def _space_in_use(loaded: Loaded) -> str:
    """The space of the index in use; "" without one."""
    prepare = loaded.config.prepare
    folders = folders_of(loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
    try:
        return manifest_in_use(folders).space
    except BadIndex:
        return ""
