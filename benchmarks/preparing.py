"""Measure how fast a collection is embedded and indexed: python benchmarks/preparing.py."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import hnswlib
import msgspec
import numpy as np

from devtools import vectors
from benchmarks import generated
from benchmarks.embedding import BATCHES, TRY_S
from benchmarks.figures import Figure, table
from devtools.memory import resident_bytes
from devtools.photos import write_photos
from benchmarks.runtimes import image_call, per_second
from devtools.words import all_queries
from common.config import Inference, load
from common.errors import ConfigError
from common.process import argument_parser, run
from common.wire import Matrix
from inference.clip.model import Model, load_model
from inference.clip.registry import find_model
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.embed import Decoding, decode_source
from prepare.sources import find_sources
from search.manifest import DISTANCE, Folders, manifest_in_use
from devtools.services import run_command, running, with_section

SECTION = "preparing"
SECONDS = 20
"""About how long the photos take to embed."""
DECODED = 500
"""Photos that are decoded to see how fast that is."""
UNCHANGED = 10_000
SMALL = 64
VECTORS = 50_000


class Bench(NamedTuple):
    """What is measured, and where."""

    model: Model
    config: dict[str, Any]
    folder: Path


def measure(model: str, inference: Inference, folder: Path) -> list[Figure]:
    """All figures of the model of that name or folder, run as `inference` says.

    What is generated stays in `folder`: for a second time it need not be made again.
    """
    where = str(find_model(model, folder))
    config = with_section(
        {"Inference": msgspec.to_builtins(inference)}, "Inference", clip=where, mclip=None
    )
    config = with_section(config, "Search", server_list=["127.0.0.1:0"])
    bench = Bench(load_model(where, inference), config, folder)
    return [*embedding(bench), unchanged(bench), *indexing(bench)]


def embedding(bench: Bench) -> list[Figure]:
    """Images a second of prepare/save_embedding.py, beside the model and the decoding alone."""
    before = model_rate(bench.model)
    photos = write_photos(bench.folder / "photos", max(DECODED, round(SECONDS * before)))
    decoded = decode_rate(bench, photos[:DECODED])
    start_s = _embed(bench, photos[:1])
    took_s = _embed(bench, photos)
    model = (before + model_rate(bench.model)) / 2  # on both sides of what it is compared with
    rate = len(photos) / took_s
    steady = (len(photos) - 1) / (took_s - start_s)
    share = "save_embedding, once started, of the model alone"
    shared = "the same, of both one after the other on all cores"
    return [
        Figure(SECTION, "the model alone, at its best batch size", model, "images/s"),
        Figure(SECTION, "decoding alone, on all cores", decoded, "images/s"),
        Figure(SECTION, "save_embedding, its start included", rate, "images/s"),
        Figure(SECTION, "save_embedding, once started", steady, "images/s"),
        Figure(SECTION, share, steady / model, "ratio", at_least=0.9),
        Figure(SECTION, shared, steady * (1 / model + 1 / decoded), "ratio"),
    ]


def model_rate(model: Model) -> float:
    """Images a second of the image tower in a loop, at its best batch size."""
    if model.image is None:
        raise ConfigError(f"model {model.name} embeds no images")
    rates = []
    for size in BATCHES:
        call = image_call(model.image, model.blank(), size)
        call()  # some runtimes prepare for each new shape
        rates.append(per_second(call, size, TRY_S))
    return max(rates)


def decode_rate(bench: Bench, photos: Sequence[Path]) -> float:
    """Images a second that are read, hashed, decoded and preprocessed, with nothing else to do."""
    assert bench.model.preprocessing is not None  # noqa: S101 an image tower has it
    decoding = Decoding(bench.folder, bench.model.preprocessing, Inference().max_pixels)
    sources = find_sources(photos, bench.folder)
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda source: decode_source(source, decoding), sources):
            pass
    return len(photos) / (time.perf_counter() - began)


def _embed(bench: Bench, photos: Sequence[Path]) -> float:
    """The seconds that the command takes for photos that it has never seen."""
    shutil.rmtree(bench.folder / "photo-embeddings", ignore_errors=True)
    listed = bench.folder / "photos.txt"
    listed.write_text("".join(f"{path}\n" for path in photos))
    config = with_section(bench.config, "Prepare", embedding_dir="photo-embeddings")
    return _timed(bench, "prepare/save_embedding.py", config, str(listed))


def _timed(bench: Bench, script: str, config: dict[str, Any], *arguments: str) -> float:
    """The seconds that a command takes, start and end of its process included."""
    began = time.perf_counter()
    done = run_command(script, config, *arguments, cwd=bench.folder)
    if done.returncode:
        raise ConfigError(f"{script} failed: {done.stderr}")
    return time.perf_counter() - began


def unchanged(bench: Bench) -> Figure:
    """The seconds that save_embedding.py takes to see that nothing has changed.

    What the first run would have written is written here, with zeros for vectors.
    """
    images = bench.folder / "small"
    write_photos(images, UNCHANGED, SMALL)
    sources = find_sources([images], bench.folder.resolve())
    rows = [Row(one.path, one.size_bytes, one.mtime_ns, "0" * 16, "0" * 16) for one in sources]
    zeros = np.zeros((len(rows), bench.model.dim), dtype=np.float32)
    shutil.rmtree(bench.folder / "small-embeddings", ignore_errors=True)
    embeddings = EmbeddingFolder(bench.folder / "small-embeddings")
    embeddings.path.mkdir()
    embeddings.write(1, Chunk(zeros, rows, []), bench.model.name, bench.model.space)
    config = with_section(
        bench.config, "Prepare", embedding_dir="small-embeddings", images=["small"]
    )
    took_s = _timed(bench, "prepare/save_embedding.py", config)
    if len(embeddings.entries()) != 1:
        raise ConfigError("save_embedding.py embedded what had not changed")
    name = f"save_embedding of {UNCHANGED:,} images, none of them changed"
    return Figure(SECTION, name, took_s, "s", at_most=5)


def indexing(bench: Bench) -> list[Figure]:
    """How fast vectors are indexed, what they take on disk and in memory, what is found."""
    made = vectors.make_vectors(bench.model, all_queries(), VECTORS)
    for name in ("vectors", "index", "paths", "hashes"):
        shutil.rmtree(bench.folder / name, ignore_errors=True)
    names = {"embedding_dir": "vectors", "index_dir": "index", "path_dir": "paths"}
    config = with_section(bench.config, "Prepare", **names, hash_dir="hashes")
    empty = _resident(bench, config)
    vectors.save_vectors(made, bench.model, bench.folder / "vectors")
    plain = hnswlib_rate(made, config)
    built = VECTORS / _timed(bench, "prepare/build_index.py", config)
    folders = Folders(*(bench.folder / name for name in ("index", "paths", "hashes")))
    manifest = manifest_in_use(folders)
    files = (path for folder in folders.all() for path in folder.rglob("*"))
    disk = sum(path.stat().st_size for path in files if path.is_file())
    memory = _resident(bench, config) - empty
    recalled = manifest.recall
    found = f"recall@{recalled.k} at ef {recalled.ef_search}"
    return [
        Figure(SECTION, "hnswlib's add_items alone", plain, "vectors/s"),
        Figure(SECTION, "build_index, one shard", built, "vectors/s"),
        Figure(SECTION, "build_index, of add_items alone", built / plain, "ratio"),
        Figure(SECTION, "the vector itself", 4 * bench.model.dim, "bytes"),
        Figure(SECTION, "the index on disk, a vector", disk / VECTORS, "bytes"),
        Figure(SECTION, "a search server, a vector", memory / VECTORS, "bytes of memory"),
        Figure(SECTION, "a search server without an index", empty / 2**20, "MiB of memory"),
        Figure(SECTION, found, recalled.value, "share"),
    ]


def hnswlib_rate(rows: Matrix, config: dict[str, Any]) -> float:
    """Vectors a second that hnswlib adds with all cores, linked as `config` says."""
    settings = generated.parsed(config).prepare
    index = hnswlib.Index(space=DISTANCE, dim=rows.shape[1])
    began = time.perf_counter()
    index.init_index(
        len(rows), M=settings.M, ef_construction=settings.ef_construction, random_seed=1
    )
    index.add_items(rows, np.arange(len(rows)), num_threads=os.cpu_count() or 1)
    return len(rows) / (time.perf_counter() - began)


def _resident(bench: Bench, config: dict[str, Any]) -> int:
    """The memory of a search server that has just started."""
    with running("search/search.py", config, cwd=bench.folder) as service:
        return resident_bytes([service.process.pid])


def main() -> None:
    """Measure and print the table."""
    loaded = load(argument_parser(__doc__).parse_args().config)
    settings = loaded.config.inference
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        print(table(measure(str(find_model(settings.clip, loaded.root)), settings, Path(folder))))


if __name__ == "__main__":
    run(main)
