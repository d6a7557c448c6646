"""The baseline as a contender: its shards are built from the same vectors, then all is started."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hnswlib
import numpy as np

from benchmarks import drivers, generated
from benchmarks.figures import Contender, Load
from common.wire import Matrix
from devtools.services import Service, running

SCRIPT = "benchmarks/baseline/servers.py"
M, EF_CONSTRUCTION = 16, 200
WORKERS = 4
"""Of middle, as many such projects set it; gunicorn recommends 2 to 4 for each core."""


def baseline(model_folder: Path, vectors: Matrix, servers: int, folder: Path) -> Contender:
    """Text to ten hits by one request a shard and query; `folder` is for its shards."""

    @contextmanager
    def start() -> Iterator[Load]:
        with running_baseline(model_folder, vectors, servers, folder) as middle:
            texts = generated.queries()
            yield lambda: drivers.wrk(f"http://{middle.address}/search", texts, folder)

    return Contender("baseline", start)


@contextmanager
def running_baseline(
    model_folder: Path, vectors: Matrix, servers: int, folder: Path
) -> Iterator[Service]:
    """Build the shards, start everything and give middle.."""
    build(vectors, servers, folder)
    with ExitStack() as stack:

        def start(role: str, **settings: object) -> Service:
            config = {"role": role, **settings}
            return stack.enter_context(running(SCRIPT, config))

        inference = start("inference", model=str(model_folder.resolve()))
        shards = [
            start("search", index=str(path), paths=f"{path}.json", dim=vectors.shape[1])
            for path in (folder / f"shard-{number}" for number in range(servers))
        ]
        yield start(
            "middle",
            workers=WORKERS,
            inference=f"http://{inference.address}/predictions/clip",
            shards=[f"http://{shard.address}/search" for shard in shards],
        )


def build(vectors: Matrix, servers: int, folder: Path) -> None:
    """Write an index and a list of paths for each search server."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(vectors)), servers)):
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(len(rows), M=M, ef_construction=EF_CONSTRUCTION)
        index.add_items(vectors[rows], np.arange(len(rows)))
        path = folder / f"shard-{number}"
        index.save_index(str(path))
        names = [f"images/{row:08}.jpg" for row in rows]  # as vectors.save_vectors has them
        path.with_name(f"{path.name}.json").write_text(json.dumps(names))
