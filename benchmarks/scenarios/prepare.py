"""The speed of embedding and indexing; memory, recall and speed of each kind of index."""

import itertools
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.plan import K, Plan
from benchmarks.report import RATIO, Figure
from benchmarks.scenarios.inference import fastest
from benchmarks.turns import Load, started, take_turns
from common.errors import ConfigError
from common.wire import Matrix
from devtools import loads
from devtools.memory import resident_bytes
from devtools.photos import write_photos
from devtools.services import run_command, running, with_section
from devtools.vectors import NOISE, TOPICS, clustered, save_vectors, unit
from inference.clip.model import Model
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.collection import read_collection
from prepare.embed import Decoding, decode_source
from prepare.recall import recall, share_of
from prepare.sources import find_sources
from search.manifest import folders_of, manifest_in_use
from search.shard import Shard
from search.shard_loading import load_shard

SMALL = 64  # pixels of the long side of the photos that have not changed
KINDS: dict[str, dict[str, Any]] = {
    "hnsw": {"index": "hnsw"},
    "compact": {"index": "compact"},
    "compact, M 12": {"index": "compact", "M": 12},
}
EF_SEARCH = (64, 128)  # the default, and its double
TARGETS = {"compact": (700, 0.98)}  # at most bytes a vector, at least recall@10 at the default ef
FEW = 100
BATCH, THREADS = 32, 2


def measure_embedding(plan: Plan) -> list[Figure]:
    """prepare/save_embedding.py beside the model and decoding alone; a run with nothing to do."""
    row, unit, once = partial(Figure, "prepare"), "images/s", "save_embedding, once started"
    before = _model_rate(plan.model, plan.seconds)
    decoded = _decode_rate(plan, write_photos(plan.folder / "photos", round(60 * plan.seconds)))
    count = round(2.5 * plan.seconds / (1 / before + 1 / decoded))
    photos = write_photos(plan.folder / "photos", max(2, count))
    start_s, took_s = _embed(plan, photos[:1]), _embed(plan, photos)
    # The mean of before and after, as the machine may have other load.
    alone = (before + _model_rate(plan.model, plan.seconds)) / 2
    steady = (len(photos) - 1) / (took_s - start_s)
    both = steady * (1 / alone + 1 / decoded)
    return [
        row("the model alone, at its best batch size", unit, alone),
        row("decoding alone, on all cores", unit, decoded),
        row("save_embedding, its start included", unit, len(photos) / took_s),
        row(once, unit, steady),
        row(f"{once} / the model alone", RATIO, steady / alone, at_least=0.93),
        row(f"{once} / both one after the other on all cores", RATIO, both),
        _unchanged(plan),
    ]


def _model_rate(model: Model, seconds: float) -> float:
    return fastest(model, "image", seconds / 8)(seconds / 4).rate


def _decode_rate(plan: Plan, photos: Sequence[Path]) -> float:
    """Images a second that are read, hashed, decoded and preprocessed, without a model."""
    if plan.model.preprocessing is None:
        raise ConfigError(f"model {plan.model.name} embeds no images")
    decoding = Decoding(plan.folder, plan.model.preprocessing, plan.inference.max_pixels)
    sources = [find_sources(photo, plan.folder).sources[0] for photo in photos]
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda source: decode_source(source, decoding), sources):
            pass  # a list of all would take too much memory
    return len(photos) / (time.perf_counter() - began)


def _embed(plan: Plan, photos: Sequence[Path]) -> float:
    """The seconds that save_embedding.py takes for new photos."""
    shutil.rmtree(plan.folder / "photo-embeddings", ignore_errors=True)
    listed = plan.folder / "photos.txt"
    listed.write_text("".join(f"{path}\n" for path in photos))
    config = with_section(plan.services(), "Prepare", embedding_dir="photo-embeddings")
    return _timed(plan, "prepare/save_embedding.py", config, str(listed))


def _timed(plan: Plan, script: str, config: dict[str, Any], *arguments: str) -> float:
    """The seconds that a command takes, with the start and the end of its process."""
    began = time.perf_counter()
    done = run_command(script, config, *arguments, cwd=plan.folder)
    if done.returncode:
        raise ConfigError(f"{script} failed: {done.stderr}")
    return time.perf_counter() - began


def _unchanged(plan: Plan) -> Figure:
    """The seconds that save_embedding.py takes when no image has changed."""
    write_photos(plan.folder / "small", plan.vectors // 10, SMALL)
    sources = find_sources(plan.folder / "small", plan.folder).sources
    # The embedding folder of a first run, with zeros for vectors.
    rows = [Row(file.path, file.size_bytes, file.mtime_ns, "0" * 16, "0" * 16) for file in sources]
    zeros = np.zeros((len(rows), plan.model.dim), dtype=np.float32)
    embeddings = EmbeddingFolder(plan.folder / "small-embeddings")
    embeddings.path.mkdir()
    embeddings.write(1, Chunk(zeros, rows, []), plan.model.name, plan.model.space)
    folders = {"embedding_dir": "small-embeddings", "images": ["small"]}
    config = with_section(plan.services(), "Prepare", **folders)
    took_s = _timed(plan, "prepare/save_embedding.py", config)
    if len(embeddings.entries()) != 1:
        raise ConfigError("save_embedding.py embedded what had not changed")
    name = f"save_embedding of {len(rows):,} images, none of them changed"
    return Figure("prepare", name, "s", took_s, at_most=5)


def measure_index(plan: Plan) -> list[Figure]:
    """Each of KINDS over the same vectors, around random topics; queries lie near vectors."""
    random = np.random.default_rng(2)
    topics = unit(random.standard_normal((TOPICS, plan.model.dim), dtype=np.float32))
    vectors = clustered(topics, plan.vectors)
    queries = vectors[random.choice(len(vectors), 16 * BATCH)]
    queries = unit(queries + NOISE * unit(random.standard_normal(queries.shape, dtype=np.float32)))
    save_vectors(vectors, plan.model, plan.folder / "all")
    save_vectors(vectors[:FEW], plan.model, plan.folder / "few")
    stored = read_collection(EmbeddingFolder(plan.folder / "all")).rows(np.arange(len(vectors)))
    found, contenders = [], []
    for name, keys in KINDS.items():
        try:
            _, least, _ = _build(plan, name, keys, "few")  # the memory of the library itself
            built_s, memory, shard = _build(plan, name, keys, "all")
        except ConfigError as error:
            print(f"left out: {name}: {error}", flush=True)
            continue
        row, limits = partial(Figure, "index", name), TARGETS.get(name, (None, None))
        each = (memory - least) / (len(vectors) - FEW)
        found.append(row("built/s", len(vectors) / built_s))
        found.append(row("bytes/vector in memory", each, at_most=limits[0]))
        for ef, least_share in zip(EF_SEARCH, (limits[1], None), strict=True):
            share = recall([share_of(queries, shard, stored, K, ef)], K)
            found.append(row(f"recall@{K}, ef {ef}", share, at_least=least_share))
        contenders.append(started(name, _search(shard, queries, plan.seconds / 4)))
    runs = take_turns(contenders, 5 * plan.rounds // 2, plan.idle_s)
    return [*found, *report.figures("index", runs), *report.ratio("index", runs, "compact", "hnsw")]


def _build(plan: Plan, name: str, keys: dict[str, Any], source: str) -> tuple[float, int, Shard]:
    """The seconds of build_index.py, the memory of a search server without files, the shard."""
    names = [f"{name}-{source}-{part}" for part in ("index", "paths", "hashes")]
    dirs = dict(zip(("index_dir", "path_dir", "hash_dir"), names, strict=True))
    config = with_section(plan.services(), "Search", server_list=["127.0.0.1:0"])
    config = with_section(config, "Prepare", embedding_dir=source, **dirs, **keys)
    built_s = _timed(plan, "prepare/build_index.py", config)
    with running("search/search.py", config, cwd=plan.folder) as service:
        memory = resident_bytes([service.process.pid], with_files=False)
    folders = folders_of(plan.folder, *names)
    manifest = manifest_in_use(folders)
    return built_s, memory, Shard(list(load_shard(folders, manifest, 0, {}).values()))


def _search(shard: Shard, queries: Matrix, seconds: float) -> Load:
    """Batches of queries in a cycle, in this process."""
    batches = itertools.cycle(queries.reshape(-1, BATCH, queries.shape[1]))
    rank = partial(shard.rank, ks=[K] * BATCH, ef=EF_SEARCH[0], threads=THREADS)
    return lambda: loads.loop(lambda: rank(next(batches)).hits(), BATCH, seconds)
