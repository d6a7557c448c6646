"""Embed the images of a collection: python prepare/save_embedding.py [PATH ...]."""

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from common.config import Loaded, load
from common.errors import ConfigError
from common.files import name_of
from common.process import argument_parser, run
from common.roots import read_roots
from prepare.chunk_plans import open_chunk_plan, plan_images
from prepare.chunk_tasks import Embedder
from prepare.chunks import ChunkPlan, EmbeddingFolder, Skipped
from prepare.embed_run import EmbedRun, check, report, told
from prepare.fold import UPLOADS, Fold, scan_uploads, store_vectors
from prepare.left_out import Kind
from prepare.lines import Spill
from prepare.live_log import live_log, log_to_follow, pages
from prepare.lock import locked
from prepare.losses import Kept, keep_absent
from prepare.member_table import MemberTable
from prepare.members import Member, read_folded, read_members, write_members
from prepare.options import absolute, add_arguments
from prepare.parts import WHOLE_RUN, DoAll
from prepare.plans import Plan
from prepare.regions import embed_regions
from prepare.removals import Result
from prepare.roots import Change, changed, write_roots
from prepare.scan import Listed, RootScan, is_below, merged, obstacle_finder, scan_roots
from prepare.sources import PATH, Source
from prepare.stored import StoredRows
from prepare.told_paths import told_from

ROOTS = "folders, tars, lists (.txt), tables (.csv, .tsv, .jsonl, .parquet) or files"
NO_CHANGE = Change()
UNWANTED: set[Kind] = {"excluded file", "excluded folder", "link"}
"""What a setting leaves out: it is not absent."""
NOT_EMBEDDED = "it was put when there was another model, and the file is not there"


def save_embeddings(
    loaded: Loaded,
    change: Change = NO_CHANGE,
    *,
    accept_loss: bool = False,
    accept_log: bool = False,
    do_all: DoAll = WHOLE_RUN.do_all,
) -> EmbedRun:
    """Change the roots of the collection, and embed what is new in it; raises ConfigError.

    What was put and deleted live is taken up first (prepare/fold.py). Images that are absent stay
    as offline (prepare/losses.py), unless `accept_loss`. `do_all` has the images embedded.
    """
    embedder = Embedder(loaded)
    folder = EmbeddingFolder(loaded.path(loaded.config.prepare.embedding_dir))
    with locked(folder.path), live_log(loaded) as log:
        before, spill = read_members(folder), Spill(folder.path)
        folded = log_to_follow(log, read_folded(folder), accept=accept_log)
        end = log.end() if log else 0  # before the scan: the files of these puts are there
        scans, added, removed = _scan(loaded, folder.path, change, before, spill)
        stored = StoredRows(folder, embedder.space)
        fold = Fold(before, folded, scans, loaded)
        for entries in pages(log, folded.position, end, loaded.config.prepare.chunk_size):
            store_vectors(entries, folder, stored, loaded, embedder.space)
            fold.apply(entries, stored)
        fold.removals.end_at({name_of(path, loaded.root) for path in change.add})
        scans += scan_uploads(fold.images, loaded, spill)
        files = merged(scans, spill)
        to_read = fold.removals.to_read(files)
        read, embedded = _embed_new(
            loaded, folder, stored, to_read, fold.images, spill, embedder, do_all
        )
        now = _found(files, to_read, stored, fold, spill)
        kept = Kept([], {}) if accept_loss else _absent(loaded, fold, now, scans, stored, spill)
        waiting = fold.waiting()
        rest = sorted([*kept.members, *waiting], key=PATH)
        write_members(folder, heapq.merge(_told(now, scans), rest, key=PATH), fold.folded)
        members = read_members(folder)
        folder.sweep()
        embed_regions(loaded, folder, members, embedder.space, embedder, do_all)
    skipped = (stored.of(member.path).skipped for member in now if not member.is_searchable)
    return EmbedRun(
        sum(member.is_searchable for member in members),
        read,
        embedded,
        [
            *filter(None, skipped),
            *(Skipped(member.path, 0, 0, NOT_EMBEDDED) for member in waiting),
        ],
        kept.reasons,
        added,
        removed,
        [left for scan in scans for left in scan.found.left_out],
        fold.changes,
        len(files) - len(now),
        fold.images,
        fold.replaced.values(),
        members,
    )


def _scan(
    loaded: Loaded, folder: Path, change: Change, members: Iterable[Member], spill: Spill
) -> tuple[list[RootScan], list[str], list[str]]:
    """Change the roots and look through them; gives the names that came and those that went."""
    roots = read_roots(folder)
    held = {root for member in members for root in member.roots if root != UPLOADS}
    known = roots.names if roots else held
    new = changed(roots, change, loaded, known)
    added = [name for name in new.names if name not in known]
    removed = [name for name in known if name not in new.names]
    named = {name_of(path, loaded.root) for path in change.add}
    scans = scan_roots(new.names, loaded, added, named.intersection(added), spill)
    if new != roots:
        write_roots(folder, new)
    return scans, added, removed


def _found(
    files: Sequence[Listed],
    to_read: Callable[[], Iterable[Listed]],
    stored: StoredRows,
    fold: Fold,
    spill: Spill,
) -> Sequence[Member]:
    """The members that files are, sorted by path, but for what answers tell of their paths."""

    def results() -> Iterator[Result]:
        return ((file, stored.result(file.source, fold.images)) for file in to_read())

    fold.follow(files, results())
    found = (result.member(*file) for file, result in fold.removals.keep_out(results()))
    return spill.add(Member, map(fold.written, found))


def _told(members: Sequence[Member], scans: Iterable[RootScan]) -> Iterator[Member]:
    """The members that files are, with what answers tell of their paths."""
    roots = set[str]().union(*(scan.found.roots for scan in scans))
    begin = told_from(map(PATH, members), roots)
    return (replace(member, told_from=begin(member.path)) for member in members)


def _absent(
    loaded: Loaded,
    fold: Fold,
    now: Sequence[Member],
    scans: Sequence[RootScan],
    stored: StoredRows,
    spill: Spill,
) -> Kept:
    """The absent images that stay; raises ConfigError if a new model cannot embed them."""
    left_out = [left for scan in scans for left in scan.found.left_out]
    unwanted = {left.path for left in left_out if left.kind in UNWANTED}
    before = spill.add(
        Member, (image for image in fold.images if not is_below(image.path, unwanted))
    )
    unread = {left.path for left in left_out if left.kind == "error"}
    find = obstacle_finder(loaded.root, unread)
    kept = keep_absent(before, now, scans, loaded.config.prepare.max_loss, find)
    members = []
    for member in kept.members:
        place = stored.of_content(member.content)
        if not place:
            raise ConfigError(
                f"{told(kept.reasons)}, and {loaded.config.inference.clip} has not embedded them."
                " Bring them back first, or agree that they leave: --accept-loss"
            )
        members.append(replace(member, chunk=place.chunk, row=place.row))
    return Kept(members, kept.reasons)


def _embed_new(
    loaded: Loaded,
    folder: EmbeddingFolder,
    stored: StoredRows,
    to_read: Callable[[], Iterable[Listed]],
    images: MemberTable,
    spill: Spill,
    embedder: Embedder,
    do_all: DoAll,
) -> tuple[int, int]:
    """Embed what is new; returns how many files were read, and how many embedded.

    `images` are those after the last run.
    """

    def make() -> Plan | None:
        sources = (replace(file.source, metadata={}) for file in to_read())
        lacking = (source for source in sources if not stored.unchanged(source, images))
        new = spill.add(Source, lacking)
        return plan_images(loaded, folder, new, stored.contents(), embedder.space)

    plan, read, embedded = open_chunk_plan(folder, make, stored.add_results), 0, 0
    if plan is not None:
        sizes = plan.head(ChunkPlan).sizes
        missing = do_all(plan, embedder)
        done = folder.finish(plan)
        stored.add_results(done.values())
        read = sum(sizes[number] for number in missing)
        entries = [done[number].entry for number in missing]
        embedded = sum(entry.rows for entry in entries if entry)
    return read, embedded


def main() -> None:
    """Embed the collection, to which the command line may add."""
    parser = argument_parser(__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"{ROOTS}, to be added")
    add_arguments(parser)
    arguments = parser.parse_args()
    outcome = save_embeddings(
        load(arguments.config),
        Change(absolute(arguments.paths), inner=False),
        accept_loss=arguments.accept_loss,
        accept_log=arguments.accept_log,
    )
    report(outcome, list_left_out=arguments.list_left_out)
    check(outcome, arguments.max_bad)


if __name__ == "__main__":
    run(main)
