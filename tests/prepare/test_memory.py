"""What the process that plans and finishes holds of each image: few bytes, at any size."""

import json
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from common.config import Loaded, parse
from common.files import content_hash
from devtools.vectors import unit
from prepare import chunk_tasks, lines
from prepare.build_index import build
from prepare.chunks import Chunk, ChunkPlan, ChunkResult, Row, write_files
from prepare.plans import PlanFolder, Worker
from prepare.save_embedding import save_embeddings
from prepare.sources import Source
from tests.prepare.stub_tower import SPACE

IMAGES, DIM = 10_000, 8
SOME = 500
"""The images of a chunk, of a shard, and those that are sorted in memory: little beside all."""
MOST_BYTES = 650
"""An image. It is 200 or 300; members or records that are held as objects are 500 and more."""
NAMES_BYTES = 400
"""Where the names in paths are remembered by pathlib, when Python makes more room for them."""


class Planned(Exception):
    """The end of a run."""


def make_files(folder: Path) -> Loaded:
    """A folder of files that nobody reads, each of another size."""
    for number in range(IMAGES):
        path = folder / f"images/{number // 1000}/a picture {number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, number + 1)
    search = {"shards": IMAGES // SOME, "server-list": ["127.0.0.1:1"]}
    config = {"Prepare": {"images": ["images"], "chunk-size": SOME}, "Search": search}
    return Loaded(parse(json.dumps(config)), folder)


def made(plan: PlanFolder, worker: Worker) -> list[int]:
    """Give each image a vector and what its EXIF tells, without a look at it."""
    missing, head = plan.missing(), plan.head(ChunkPlan)
    for number in missing:
        files = plan.task(number, list[Source])
        vectors = unit(np.random.default_rng(number).standard_normal((len(files), DIM), np.float32))
        chunk = Chunk(vectors, _rows(files), [])
        stem, entry = write_files(plan.path, head.first + number, chunk, "stub", head.space)
        plan.put_result(number, ChunkResult(entry, stem, []))
    return missing


def _rows(files: Sequence[Source]) -> list[Row]:
    facts = {"taken": "2024-05-01T12:00:00", "camera": "A camera"}
    hashes = [content_hash(file.path.encode()) for file in files]
    return [
        Row(file.path, file.size_bytes, file.mtime_ns, content, content, facts=facts)
        for file, content in zip(files, hashes, strict=True)
    ]


def planned(*_: object) -> list[int]:
    """Leave the tasks to others."""
    raise Planned


@contextmanager
def bounded(most_bytes: int) -> Iterator[None]:
    """The memory that is taken within is at most so much for each image."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / IMAGES < most_bytes


def measure(folder: Path) -> None:
    """Embed, look again, and plan shards within the bounds."""
    loaded = make_files(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(chunk_tasks, "space_of_model", lambda *_: SPACE)
        monkeypatch.setattr(lines, "RUN", SOME)
        with bounded(MOST_BYTES):
            assert save_embeddings(loaded, do_all=made).embedded == IMAGES
        with bounded(MOST_BYTES + NAMES_BYTES):
            assert save_embeddings(loaded, do_all=made).read == 0
        with bounded(MOST_BYTES), pytest.raises(Planned):
            build(loaded, planned)


def test_few_bytes_of_an_image_are_held(tmp_path: Path) -> None:
    """When it is embedded, when it has not changed, and when shards are planned.

    In a new process: after other tests, Python makes room for names at other moments.
    """
    process = get_context("spawn").Process(target=measure, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
