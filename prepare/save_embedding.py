"""Embed the images of a collection: python prepare/save_embedding.py [PATH ...]."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from common.config import Loaded, load
from common.cores import usable_cores
from common.errors import ConfigError
from common.images.renditions import RenditionFolder
from common.process import argument_parser, run
from inference.clip.model import Model, load_model, space_of_model
from prepare.chunks import EmbeddingFolder, Skipped
from prepare.embed import Decoding, Embedding, embed_chunk
from prepare.embed_run import EmbedRun, check, report, told
from prepare.left_out import LIST_OPTION, Kind
from prepare.lock import locked
from prepare.losses import Kept, keep_absent
from prepare.members import Member, read_members, write_members
from prepare.progress import Progress
from prepare.roots import Change, changed, read_roots, write_roots
from prepare.scan import RootScan, is_below, merged, obstacle_finder, scan_roots
from prepare.sources import Source, name_of
from prepare.stored import StoredRows
from prepare.told_paths import told_from

ROOTS = "folders, lists (.txt), tables (.csv, .tsv, .jsonl, .parquet) or files"
NO_CHANGE = Change()
UNWANTED: set[Kind] = {"excluded file", "excluded folder", "link"}
"""What a setting leaves out: it is not absent."""


def save_embeddings(
    loaded: Loaded, change: Change = NO_CHANGE, *, accept_loss: bool = False
) -> EmbedRun:
    """Change the roots of the collection, and embed what is new in it; raises ConfigError.

    Images that are absent stay as offline (prepare/losses.py), unless `accept_loss`.
    """
    folder = EmbeddingFolder(loaded.path(loaded.config.prepare.embedding_dir))
    with locked(folder.path):
        before = read_members(folder)
        scans, added, removed = _scan(loaded, folder.path, change, before)
        sources, roots = merged(scans)
        space = space_of_model(loaded.config.inference.clip, loaded.root)
        stored = StoredRows(folder, space, before)
        found = [(source, stored.unchanged(source)) for source in sources]
        todo = [source for source, stored_row in found if stored_row is None]
        embedded = _embed_all(loaded, folder, stored, todo, space)
        results = [(source, stored_row or stored.of(source.path)) for source, stored_row in found]
        told_roots = set[str]().union(*(scan.found.roots for scan in scans))
        begins = told_from([source.path for source in sources], told_roots)
        now = [
            result.member(source, roots[source.path], begin)
            for (source, result), begin in zip(results, begins, strict=True)
        ]
        kept = Kept([], {}) if accept_loss else _keep_absent(loaded, before, now, scans, stored)
        members = sorted([*now, *kept.members], key=lambda member: member.path)
        write_members(folder, members)
        folder.sweep()
    return EmbedRun(
        sum(member.is_searchable for member in members),
        len(todo),
        embedded,
        [result.told for _, result in results if isinstance(result.told, Skipped)],
        kept.reasons,
        added,
        removed,
        [left for scan in scans for left in scan.found.left_out],
    )


def _scan(
    loaded: Loaded, folder: Path, change: Change, members: Iterable[Member]
) -> tuple[list[RootScan], list[str], list[str]]:
    """Change the roots and look through them; gives the names that came and those that went."""
    roots = read_roots(folder)
    known = roots.names if roots else {root for member in members for root in member.roots}
    new = changed(roots, change, loaded, known)
    added = [name for name in new.names if name not in known]
    removed = [name for name in known if name not in new.names]
    named = {name_of(path, loaded.root) for path in change.add}
    scans = scan_roots(new.names, loaded, added, named.intersection(added))
    if new != roots:
        write_roots(folder, new)
    return scans, added, removed


def _keep_absent(
    loaded: Loaded,
    before: Sequence[Member],
    now: Sequence[Member],
    scans: Sequence[RootScan],
    stored: StoredRows,
) -> Kept:
    """The absent images that stay; raises ConfigError if a new model cannot embed them."""
    left_out = [left for scan in scans for left in scan.found.left_out]
    unwanted = {left.path for left in left_out if left.kind in UNWANTED}
    before = [member for member in before if not is_below(member.path, unwanted)]
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


def _embed_all(
    loaded: Loaded, folder: EmbeddingFolder, stored: StoredRows, todo: Sequence[Source], space: str
) -> int:
    """Embed and write chunk after chunk; returns how many images were embedded."""
    if not todo and stored.by_content:  # the model need not be loaded
        return 0
    prepare = loaded.config.prepare
    model = _load(loaded, space)
    if model.image is None or model.preprocessing is None:
        raise ConfigError(f"Inference.clip: {model.name} embeds no images")
    tower, known = model.image, stored.by_content
    max_pixels = loaded.config.inference.max_pixels
    decoding = Decoding(
        loaded.root, model.preprocessing, max_pixels, *_renditions(loaded), known=known
    )
    number = 1 + max((entry.chunk for entry in folder.entries()), default=0)
    threads = prepare.threads or usable_cores()
    replicas = sum(tower.replicas.values())
    embedded = 0
    with (
        ThreadPoolExecutor(threads) as pool,
        ThreadPoolExecutor(replicas) as devices,
        Progress("embedding", len(todo)) as progress,
    ):
        size = prepare.batch_size or tower.batch_size
        embedding = Embedding(tower.embed, size, replicas, devices)
        for start in range(0, len(todo), prepare.chunk_size):
            sources = todo[start : start + prepare.chunk_size]
            chunk, copies = embed_chunk(sources, decoding, pool, embedding, progress.add)
            stored.add(number, chunk.rows, chunk.skipped, copies)
            if chunk.rows or chunk.skipped:
                folder.write(number, chunk, model.name, model.space)
                number += 1
                embedded += len(chunk.rows)
    return embedded


def _load(loaded: Loaded, space: str) -> Model:
    """The model of the images; raises ConfigError, for another dimension than is wanted too."""
    settings = loaded.config.inference.of("clip")
    wanted = loaded.config.prepare.feature_dim
    model = load_model(settings.clip, settings, loaded.root, text=False, space=space)
    if wanted not in (None, model.dim):
        raise ConfigError(
            f"config: Prepare.feature-dim is {wanted}, but {model.name} gives {model.dim} numbers"
        )
    return model


def _renditions(loaded: Loaded) -> tuple[RenditionFolder, list[int]]:
    """Where renditions are kept, and the sizes of those that are made here."""
    front = loaded.config.front
    pixels = {"thumbnail": front.thumbnail_pixels, "preview": front.preview_pixels}
    folder = RenditionFolder(loaded.path(front.rendition_dir), front.rendition_bytes)
    return folder, [pixels[name] for name in loaded.config.prepare.renditions]


def main() -> None:
    """Embed the collection, to which the command line may add."""
    parser = argument_parser(__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"{ROOTS}, to be added")
    add_arguments(parser)
    arguments = parser.parse_args()
    change = Change(absolute(arguments.paths), inner=False)
    outcome = save_embeddings(load(arguments.config), change, accept_loss=arguments.accept_loss)
    report(outcome, list_left_out=arguments.list_left_out)
    check(outcome, arguments.max_bad)


def add_arguments(parser: ArgumentParser) -> None:
    """The options that this step and prepare.py share."""
    parser.add_argument(
        "--max-bad", type=int, metavar="N", help="fail when more than N images are skipped"
    )
    parser.add_argument(
        "--accept-loss", action="store_true", help="let the images leave that are absent"
    )
    parser.add_argument(
        LIST_OPTION, action="store_true", help="name each file and folder that is not looked at"
    )


def absolute(names: Sequence[str]) -> tuple[Path, ...]:
    """The paths that a command line names; ~ is the home, also where the shell left it."""
    return tuple(Path(os.path.abspath(Path(name).expanduser())) for name in names)


if __name__ == "__main__":
    run(main)
