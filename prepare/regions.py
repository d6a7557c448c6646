"""The embeddings of regions: parts of images, each with a vector beside that of the whole image.

They are in chunks of their own, by a space of their own, and found by the content of an image. So
the setting `Prepare.regions` can change at any time: what is embedded once stays, and only what is
missing is embedded.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

import msgspec
import numpy as np

from common.config import Loaded, Prepare, RegionKind
from common.errors import BadRequest, ServiceError
from common.files import content_hash
from common.image_files import read_image_file
from common.wire import Matrix
from inference.clip import images
from inference.clip.images import Pixels, Preprocessing
from inference.messages import Region
from prepare.chunk_plans import open_chunk_plan
from prepare.chunks import Chunk, ChunkPlan, EmbeddingFolder, Row
from prepare.embed import Embedding, ahead
from prepare.members import Member
from prepare.parts import WHOLE_RUN, DoAll
from prepare.plans import Plan, Worker
from prepare.sam_regions import open_finder

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
"""Stands for an image that has no regions, so that none are looked for again."""
GRID: tuple[Region, ...] = (
    (0.0, 0.0, 0.5, 0.5),
    (0.5, 0.0, 1.0, 0.5),
    (0.0, 0.5, 0.5, 1.0),
    (0.5, 0.5, 1.0, 1.0),
    (0.25, 0.25, 0.75, 0.75),
)
Find = Callable[[bytes], Sequence[Region]]
"""Gives the regions of an image file; raises ServiceError."""
Part = tuple[Row, Pixels]
Reader = Callable[[Member], Sequence[Part]]


class StoredRegion(NamedTuple):
    """Where the vector of a region is stored."""

    chunk: int
    row: int
    box: Region


def region_space(space: str, kind: RegionKind) -> str:
    """What the chunks of regions have as their space; `space` is that of the model."""
    return f"{space} {kind}"


def stored_regions(
    folder: EmbeddingFolder, space: str, kind: RegionKind
) -> dict[str, list[StoredRegion]]:
    """The regions of each content whose regions are stored: `WHOLE` alone if it has none."""
    found: dict[str, list[StoredRegion]] = defaultdict(list)
    for entry in folder.entries():
        if kind != "none" and entry.space == region_space(space, kind):
            for number, row in enumerate(folder.rows(entry.chunk)):
                found[row.content].append(StoredRegion(entry.chunk, number, row.region or WHOLE))
    return dict(found)


def embed_regions(
    loaded: Loaded,
    folder: EmbeddingFolder,
    members: Iterable[Member],
    space: str,
    worker: Worker,
    do_all: DoAll = WHOLE_RUN.do_all,
) -> int:
    """Embed the regions that are missing, by the setting; returns of how many images.

    Images whose files cannot be read now get them in a later run. `worker` does what is planned.
    """
    settings = loaded.config.prepare

    def make() -> Plan | None:
        return _plan(folder, members, space, settings)

    plan = open_chunk_plan(folder, make, lambda _: None, of_regions=True)
    if plan is None:
        return 0
    missing = do_all(plan, worker)
    results = folder.finish(plan)
    entries = [results[number].entry for number in missing]
    rows = [folder.rows(entry.chunk) for entry in entries if entry]
    return sum(len({row.content for row in some}) for some in rows)


def _plan(
    folder: EmbeddingFolder, members: Iterable[Member], space: str, settings: Prepare
) -> Plan | None:
    """Plan to embed what is missing, if anything is."""
    kind, size = settings.regions, settings.chunk_size
    if kind == "none":
        return None
    stored = stored_regions(folder, space, kind)
    lacking = {
        member.content: member
        for member in members
        if member.is_searchable and not member.offline and member.content not in stored
    }
    if not lacking:
        return None
    todo = list(lacking.values())
    dealt = [todo[start : start + size] for start in range(0, len(todo), size)]
    sizes = [len(some) for some in dealt]
    head = ChunkPlan(region_space(space, kind), folder.last_chunk() + 1, kind, sizes)
    return Plan(head, b"", map(msgspec.msgpack.encode, dealt))


def region_reader(loaded: Loaded, preprocessing: Preprocessing, kind: RegionKind) -> Reader:
    """What reads the regions of an image for a model, in any thread; raises ConfigError."""
    find = open_finder(loaded) if kind == "sam" else lambda _: GRID
    return partial(_read, loaded, preprocessing, find)


def embed_regions_of(
    members: Iterable[Member], read: Reader, pool: Executor, embedding: Embedding
) -> Chunk:
    """Embed the regions of some images, which are read in `pool`."""
    flat = chain.from_iterable(ahead(pool, read, members, 4 * embedding.batch_size))
    batches = iter(lambda: list(islice(flat, embedding.batch_size)), [])

    def embed(batch: Sequence[Part]) -> list[tuple[Row, Matrix]]:
        vectors = embedding.embed([pixels for _, pixels in batch])
        pairs = zip(batch, vectors, strict=True)
        return [(row, vector) for (row, _), vector in pairs if np.isfinite(vector).all()]

    found = list(
        chain.from_iterable(ahead(embedding.threads, embed, batches, embedding.replicas + 1))
    )
    vectors = [vector for _, vector in found]
    return Chunk(
        np.stack(vectors) if vectors else np.empty((0, 0), np.float32),
        [row for row, _ in found],
        [],
    )


def _read(
    loaded: Loaded, preprocessing: Preprocessing, find: Find, member: Member
) -> Sequence[Part]:
    """The regions of an image for the model; none if its file cannot be read, or is another."""
    row = partial(Row, member.path, member.size_bytes, member.mtime_ns, member.content, "0")
    parts: list[Part] = []
    with suppress(OSError, ServiceError):
        data = read_image_file(loaded.root / member.path)
        if content_hash(data) != member.content:
            return []
        decode = images.region_decoder(data, preprocessing, loaded.config.inference.max_pixels)
        for region in [*find(data), WHOLE]:
            if region != WHOLE or not parts:
                with suppress(BadRequest):  # of an extreme aspect ratio
                    pixels = images.preprocess(decode(region), preprocessing)
                    parts.append((row(region=region), pixels))
    return parts
