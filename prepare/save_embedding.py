"""Embed the images of a collection: python prepare/save_embedding.py [PATH ...]."""

import sys
from collections.abc import Iterable, Mapping, Sequence
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
from prepare.live_log import live_log, log_to_follow, pages
from prepare.lock import locked
from prepare.losses import Kept, keep_absent
from prepare.members import Member, read_folded, read_members, write_members
from prepare.options import absolute, add_arguments
from prepare.parts import WHOLE_RUN, DoAll
from prepare.plans import Plan
from prepare.regions import embed_regions
from prepare.removals import Result
from prepare.roots import Change, changed, write_roots
from prepare.scan import RootScan, is_below, merged, obstacle_finder, scan_roots
from prepare.sources import Source
from prepare.stored import StoredRow, StoredRows
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
        before = read_members(folder)
        folded = log_to_follow(log, read_folded(folder), accept=accept_log)
        end = log.end() if log else 0  # before the scan: the files of these puts are there
        scans, added, removed = _scan(loaded, folder.path, change, before)
        space = embedder.space
        stored = StoredRows(folder, space)
        fold = Fold(before, folded, scans, loaded)
        for entries in pages(log, folded.position, end, loaded.config.prepare.chunk_size):
            store_vectors(entries, folder, stored, loaded, space)
            fold.apply(entries, stored)
        fold.removals.end_at({name_of(path, loaded.root) for path in change.add})
        scans += scan_uploads(fold.images.values(), loaded)
        sources, roots = merged(scans)
        files = fold.removals.to_read(sources)
        results, read, embedded = _embed_new(
            loaded, folder, stored, files, fold.images, embedder, do_all
        )
        results = fold.keep_out(sources, results)
        now = [fold.written(member) for member in _members(results, roots, scans)]
        kept = Kept([], {}) if accept_loss else _absent(loaded, fold.images, now, scans, stored)
        waiting = fold.waiting(sources)
        members = sorted([*now, *kept.members, *waiting], key=lambda member: member.path)
        write_members(folder, members, fold.folded)
        folder.sweep()
        embed_regions(loaded, folder, members, space, embedder, do_all)
    return EmbedRun(
        sum(member.is_searchable for member in members),
        read,
        embedded,
        [
            *(result.told for _, result in results if isinstance(result.told, Skipped)),
            *(Skipped(member.path, 0, 0, NOT_EMBEDDED) for member in waiting),
        ],
        kept.reasons,
        added,
        removed,
        [left for scan in scans for left in scan.found.left_out],
        fold.changes,
        len(sources) - len(results),
        fold.images,
        fold.replaced.values(),
        members,
    )


def _scan(
    loaded: Loaded, folder: Path, change: Change, members: Iterable[Member]
) -> tuple[list[RootScan], list[str], list[str]]:
    """Change the roots and look through them; gives the names that came and those that went."""
    roots = read_roots(folder)
    held = {root for member in members for root in member.roots if root != UPLOADS}
    known = roots.names if roots else held
    new = changed(roots, change, loaded, known)
    added = [name for name in new.names if name not in known]
    removed = [name for name in known if name not in new.names]
    named = {name_of(path, loaded.root) for path in change.add}
    scans = scan_roots(new.names, loaded, added, named.intersection(added))
    if new != roots:
        write_roots(folder, new)
    return scans, added, removed


def _members(
    results: Sequence[Result], roots: Mapping[str, tuple[str, ...]], scans: Iterable[RootScan]
) -> list[Member]:
    """The members that files are; `roots` has the roots of each path."""
    told_roots = set[str]().union(*(scan.found.roots for scan in scans))
    begins = told_from([source.path for source, _ in results], told_roots)
    return [
        result.member(source, roots[source.path], begin)
        for (source, result), begin in zip(results, begins, strict=True)
    ]


def _absent(
    loaded: Loaded,
    images: Mapping[str, Member],
    now: Sequence[Member],
    scans: Sequence[RootScan],
    stored: StoredRows,
) -> Kept:
    """The absent images that stay; raises ConfigError if a new model cannot embed them."""
    left_out = [left for scan in scans for left in scan.found.left_out]
    unwanted = {left.path for left in left_out if left.kind in UNWANTED}
    before = [member for path, member in images.items() if not is_below(path, unwanted)]
    unread = {left.path for left in left_out if left.kind == "error"}
    find = obstacle_finder(loaded.root, unread)
    kept = keep_absent(before, now, scans, loaded.config.prepare.max_loss, find)
    members = []
    for member in kept.members:
        if member.content not in stored.by_content:
            raise ConfigError(
                f"{told(kept.reasons)}, and {loaded.config.inference.clip} has not embedded them."
                " Bring them back first, or agree that they leave: --accept-loss"
            )
        place = stored.by_content[member.content]
        members.append(replace(member, chunk=place.chunk, row=place.row))
    return Kept(members, kept.reasons)


def _embed_new(
    loaded: Loaded,
    folder: EmbeddingFolder,
    stored: StoredRows,
    files: Sequence[Source],
    images: Mapping[str, Member],
    embedder: Embedder,
    do_all: DoAll,
) -> tuple[list[Result], int, int]:
    """Embed what is new; returns what all files are, how many were read, how many embedded.

    `images` are those after the last run, by path.
    """

    def known(file: Source) -> StoredRow | None:
        return stored.unchanged(file, images.get(file.path))

    def make() -> Plan | None:
        new = [file for file in files if known(file) is None]
        return plan_images(loaded, folder, new, stored.by_content, embedder.space)

    plan, read, embedded = open_chunk_plan(folder, make, stored.add_results), 0, 0
    if plan is not None:
        sizes = plan.head(ChunkPlan).sizes
        missing = do_all(plan, embedder)
        done = folder.finish(plan)
        stored.add_results(done.values())
        read = sum(sizes[number] for number in missing)
        entries = [done[number].entry for number in missing]
        embedded = sum(entry.rows for entry in entries if entry)
    return [(file, known(file) or stored.of(file.path)) for file in files], read, embedded


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
