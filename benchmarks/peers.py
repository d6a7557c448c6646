"""Other projects beside each other, with one and the same ViT-B-32: python benchmarks/peers.py.

Each is installed from PyPI into an environment of its own and runs its own server with its own
defaults; docs/benchmarks.md says what had to be changed. What cannot be installed is left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks import drivers, generated
from benchmarks.drivers import Measured
from benchmarks.environments import Command, Environment, ask, serving
from benchmarks.figures import Contender, Figure, Load, median_figure, table, take_turns
from devtools.vectors import make_vectors
from devtools.words import all_queries
from common.config import CHECKOUT
from common.errors import ConfigError
from common.process import run
from common.wire import Matrix
from inference.clip.model import load_model
from devtools.services import free_ports

# What they were made for: newer ones of these have lost what they import.
CLIP_AS_SERVICE = Environment(
    "clip-as-service",
    # safetensors is for benchmarks/clip_as_service.py alone.
    ("clip-server==0.8.3", "clip-client==0.8.3", "setuptools<81", "pydantic<2", "safetensors"),
)
CLIP_RETRIEVAL = Environment(
    "clip-retrieval", ("clip-retrieval==2.45.0", "setuptools<81", "numpy<2")
)
OPEN_CLIP_NAME = "ViT-B-32::laion2b_e16"
"""Of clip-as-service's names, one that it loads by open_clip's class, as ours is saved."""
WEIGHTS = "open_clip_model.safetensors"
DATA = CHECKOUT / generated.FOLDER
MODEL = DATA / "ViT-B-32"
"""With random weights, exported."""
SOURCE = DATA / "sources/ViT-B-32"
"""The same, as open_clip saves it."""
COSINE = 0.99
"""Less, and it is another model; in practice the same weights give .9999 and more."""
SIMILARITY = 0.005
CHECKS = ("a red bicycle near the beach", "two dogs", "an old lighthouse at dusk in a storm")
K = 10
SECONDS = 30
"""Of each load: neither batches, so an answer may take as long as the 127 before it."""


def clip_as_service(source_folder: Path, model_folder: Path, folder: Path) -> Contender:
    """Text to embedding over its HTTP gateway, with torch.

    `source_folder` has a ViT-B-32 as open_clip saves it, `model_folder` what we exported of it.
    """

    @contextmanager
    def start() -> Iterator[Load]:
        python = CLIP_AS_SERVICE.bin() / "python"
        (port,) = free_ports(1)
        home = folder.resolve() / "clip-as-service"
        home.mkdir(parents=True)
        script = str(Path(__file__).with_name("clip_as_service.py"))
        command = Command(
            [str(python), script, str((source_folder / WEIGHTS).resolve()), OPEN_CLIP_NAME],
            home,
            {"NO_VERSION_CHECK": "1", "JINA_OPTOUT_TELEMETRY": "1"},
            json.dumps(_flow(port)),  # which is YAML, too
        )
        url = f"http://127.0.0.1:{port}/post"
        with serving(command, url, encode_body("warm")):
            _check_embeddings(url, model_folder)
            yield _load(url, home, encode_body)

    return Contender("clip-as-service", start)


def _flow(port: int) -> dict[str, Any]:
    """Its own torch-flow.yml with HTTP for gRPC, and the name that has our weights."""
    executor = {
        "name": "clip_t",
        "uses": {
            "jtype": "CLIPEncoder",
            "with": {"name": OPEN_CLIP_NAME},
            "metas": {"py_modules": ["clip_server.executors.clip_torch"]},
        },
        "timeout_ready": 3_000_000,
        "replicas": 1,
    }
    served = {"port": port, "protocol": "http"}
    return {"jtype": "Flow", "version": "1", "with": served, "executors": [executor]}


def encode_body(text: str) -> dict[str, Any]:
    """What clip-as-service's gateway takes: one document."""
    return {"data": [{"text": text}], "execEndpoint": "/"}


def _check_embeddings(url: str, model_folder: Path) -> None:
    """Raise ConfigError unless the server's embeddings are those of our model."""
    ours = load_model(str(model_folder.resolve()), image=False).encode_text(CHECKS)
    for text, row in zip(CHECKS, ours, strict=True):
        theirs = np.array(ask(url, encode_body(text)).json()["data"][0]["embedding"])
        cosine = float(row @ theirs / np.linalg.norm(theirs))
        if not cosine > COSINE:
            raise ConfigError(f"clip-as-service: a cosine of {cosine:.4f} with our embedding")


def clip_retrieval(
    source_folder: Path, model_folder: Path, vectors: Matrix, folder: Path
) -> Contender:
    """Text to ten hits by its back end, over the index that its own `index` command makes."""

    @contextmanager
    def start() -> Iterator[Load]:
        program = CLIP_RETRIEVAL.bin() / "clip-retrieval"
        (port,) = free_ports(1)
        home = folder.resolve() / "clip-retrieval"
        _build(program, vectors, home)
        weights = (source_folder / WEIGHTS).resolve()
        options = {
            "indices_paths": "indices.json",
            "port": port,
            "clip_model": f"open_clip:ViT-B-32/{weights}",
            "enable_mclip_option": False,  # these two would be downloaded
            "provide_aesthetic_embeddings": False,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command = Command([str(program), "back", *arguments], home)
        url = f"http://127.0.0.1:{port}/knn-service"
        with serving(command, url, knn_body("warm")):
            _check_hits(url, model_folder, vectors)
            yield _load(url, home, knn_body)

    return Contender("clip-retrieval", start)


def _build(program: Path, vectors: Matrix, home: Path) -> None:
    """Its index of `vectors`, which chooses and tunes itself as it does for everybody."""
    for name in ("img_emb", "metadata"):
        (home / "embeddings" / name).mkdir(parents=True)
    np.save(home / "embeddings/img_emb/img_emb_0.npy", vectors)
    urls = pa.table({"url": [f"images/{row:08}.jpg" for row in range(len(vectors))]})
    parquet.write_table(urls, home / "embeddings/metadata/metadata_0.parquet")
    command = [str(program), "index", "--embeddings_folder=embeddings", "--index_folder=index"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode or not (home / "index/image.index").is_file():
        raise RuntimeError(f"clip-retrieval index: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    (home / "indices.json").write_text(json.dumps({"benchmark": "index"}))


def knn_body(text: str) -> dict[str, Any]:
    """What clip-retrieval's back end takes: ten images, please."""
    return {"text": text, "modality": "image", "num_images": K, "indice_name": "benchmark"}


def _check_hits(url: str, model_folder: Path, vectors: Matrix) -> None:
    """Raise ConfigError unless the hits are as near as our embedding of the text says."""
    ours = load_model(str(model_folder.resolve()), image=False).encode_text(CHECKS)
    for text, row in zip(CHECKS, ours, strict=True):
        hits = ask(url, knn_body(text)).json()
        found = vectors[[hit["id"] for hit in hits]] @ row
        worst = np.abs(found - [hit["similarity"] for hit in hits]).max()
        if len(hits) != K or not worst < SIMILARITY:
            raise ConfigError(f"clip-retrieval: {len(hits)} hits, off by {worst:.4f} from ours")


def _load(url: str, folder: Path, body: Callable[[str], dict[str, Any]]) -> Load:
    texts = generated.queries()
    return lambda: drivers.wrk(url, texts, folder, body, SECONDS)


def figures(runs: Mapping[str, Sequence[Measured]]) -> list[Figure]:
    """Requests a second of each, and the errors of all rounds."""
    return [
        median_figure(
            "others",
            name,
            [one.requests_per_s for one in measured],
            "req/s",
            note=f"{sum(one.errors for one in measured)} errors",
        )
        for name, measured in runs.items()
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--source", type=Path, default=SOURCE, help="as open_clip saves it")
    add("--model", type=Path, default=MODEL, help="the same, exported")
    add("--vectors", type=int, default=100_000, metavar="N", help=f"in the index, over {K}")
    add("--rounds", type=int, default=3, metavar="N", help="of which the medians count")
    arguments = parser.parse_args()
    drivers.require_programs()
    make_models(arguments.source, arguments.model)
    model = load_model(str(arguments.model.resolve()), image=False)
    vectors = make_vectors(model, all_queries(), arguments.vectors)
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        contenders = [
            clip_as_service(arguments.source, arguments.model, Path(folder)),
            clip_retrieval(arguments.source, arguments.model, vectors, Path(folder)),
        ]
        print(f"\n{table(figures(take_turns(contenders, arguments.rounds)))}")


def make_models(source: Path, model: Path) -> None:
    """Write a random ViT-B-32 where it is not there yet, both times the same; needs torch."""
    if source.is_dir() and model.is_dir():
        return
    from devtools.random_model import export_random, write_architecture

    if not source.is_dir():
        source.mkdir(parents=True)
        write_architecture("ViT-B-32", source)
    if not model.is_dir():
        export_random("ViT-B-32", model, [])


if __name__ == "__main__":
    run(main)
