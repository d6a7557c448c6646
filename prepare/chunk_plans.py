"""The plan of the chunks of a run: which files each of them is from."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from common.config import Loaded
from common.cores import usable_cores
from prepare.chunks import ChunkPlan, ChunkResult, EmbeddingFolder
from prepare.dealing import deal
from prepare.key_table import Hashes
from prepare.plans import Plan, PlanFolder, open_plan
from prepare.sources import Source


def plan_images(
    loaded: Loaded, folder: EmbeddingFolder, new: Sequence[Source], known: Hashes, space: str
) -> Plan | None:
    """Plan to embed new files, if any; of a `known` content hash there is an embedding."""
    if not new:
        return None
    prepare = loaded.config.prepare
    dealt = list(deal(new, loaded.root, prepare.chunk_size, prepare.threads or usable_cores()))
    tasks = ([new[position] for position in files.tolist()] for files in dealt)
    return Plan(
        ChunkPlan(space, folder.last_chunk() + 1, "none", [len(files) for files in dealt]),
        known.astype("<u8").tobytes(),
        map(msgspec.msgpack.encode, tasks),
    )


def open_chunk_plan(
    folder: EmbeddingFolder,
    make: Callable[[], Plan | None],
    take_up: Callable[[Iterable[ChunkResult]], None],
    *,
    of_regions: bool = False,
) -> PlanFolder | None:
    """Open the plan that `make` gives, if there is anything to do.

    If a killed run had another one, what is done of that is taken up first, and `make` plans again.
    """
    plan = make()
    opened = open_plan(folder.path, plan) if plan else None
    others = [
        other
        for other in folder.plans()
        if (opened and other.path != opened.path)
        or (opened is None and (other.head(ChunkPlan).regions != "none") == of_regions)
    ]
    if not others:
        return opened
    if opened:
        opened.close()
    for other in others:
        take_up(folder.finish(other).values())
    return open_chunk_plan(folder, make, take_up, of_regions=of_regions)
