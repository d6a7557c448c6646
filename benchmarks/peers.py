"""Other projects as contenders: from PyPI, each in its own environment, with its own defaults.

All load the same random ViT-B-32. docs/benchmarks.md lists the changes that this needs. A project
that cannot be installed is left out.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.plan import FOLDER, K, Plan, queries
from benchmarks.turns import Contender, Load
from common.errors import ConfigError
from common.wire import Matrix
from devtools import loads
from devtools.other_programs import Command, Environment, ask, serving
from devtools.services import free_ports

# Old versions of their dependencies: the current versions lack names that the projects import.
CLIP_AS_SERVICE = Environment(
    "clip-as-service",
    # Only benchmarks/clip_as_service.py needs safetensors.
    ("clip-server==0.8.3", "clip-client==0.8.3", "setuptools<81", "pydantic<2", "safetensors"),
)
CLIP_RETRIEVAL = Environment(
    "clip-retrieval", ("clip-retrieval==2.45.0", "setuptools<81", "numpy<2")
)
OPEN_CLIP_NAME = "ViT-B-32::laion2b_e16"  # loaded by the class of open_clip, like our weights
COSINE = 0.99  # the same weights give .9999 or more
SIMILARITY = 0.005
CHECKS = ("a red bicycle near the beach", "two dogs", "an old lighthouse at dusk in a storm")
FLOW = Path(__file__).with_name("clip_as_service.yml")
Body = Callable[[str], dict[str, Any]]


def contenders(plan: Plan, vectors: Matrix) -> list[Contender]:
    """clip-as-service, which only embeds, and clip-retrieval, which searches the same vectors."""
    return [
        Contender(CLIP_AS_SERVICE.name, partial(_clip_as_service, plan)),
        Contender(CLIP_RETRIEVAL.name, partial(_clip_retrieval, plan, vectors)),
    ]


def _home(plan: Plan, environment: Environment) -> tuple[Path, Path, Path]:
    """The weights, the programs of an environment, and a folder for their files."""
    if not plan.weights:
        raise ConfigError("only the random ViT-B-32 is measured in other projects")
    programs = environment.bin(plan.loaded.path(FOLDER) / "environments")
    home = plan.folder / environment.name
    home.mkdir()
    return plan.weights.resolve(), programs, home


def _load(plan: Plan, url: str, home: Path, body: Body) -> Load:
    """A longer load: without batches an answer may wait for 127 other answers."""
    sent = (json.dumps(body(text)).encode() for text in queries())
    return lambda: loads.wrk(url, sent, home, 4 * plan.seconds)


@contextmanager
def _clip_as_service(plan: Plan) -> Iterator[Load]:
    """Text to embedding by its HTTP gateway, with torch."""
    weights, programs, home = _home(plan, CLIP_AS_SERVICE)
    (port,) = free_ports(1)
    script = str(Path(__file__).with_name("clip_as_service.py"))
    environment = {"NO_VERSION_CHECK": "1", "JINA_OPTOUT_TELEMETRY": "1"}
    flow = FLOW.read_text().replace("PORT", str(port)).replace("MODEL", OPEN_CLIP_NAME)
    arguments = [str(programs / "python"), script, str(weights), OPEN_CLIP_NAME]
    command = Command(arguments, home, environment, flow)
    url = f"http://127.0.0.1:{port}/post"

    def body(text: str) -> dict[str, Any]:
        return {"data": [{"text": text}], "execEndpoint": "/"}

    with serving(command, url, body("warm")):
        for text, row in zip(CHECKS, plan.model.encode_text(CHECKS), strict=True):
            theirs = np.array(ask(url, body(text)).json()["data"][0]["embedding"])
            cosine = float(row @ theirs / np.linalg.norm(theirs))
            if not cosine > COSINE:
                raise ConfigError(f"a cosine of {cosine:.4f} with our embedding")
        yield _load(plan, url, home, body)


@contextmanager
def _clip_retrieval(plan: Plan, vectors: Matrix) -> Iterator[Load]:
    """Text to ten hits by its back end, over an index that its `index` command builds."""
    weights, programs, home = _home(plan, CLIP_RETRIEVAL)
    (port,) = free_ports(1)
    program = str(programs / "clip-retrieval")
    _build(program, vectors, home)
    options = {
        "indices_paths": "indices.json",
        "port": port,
        "clip_model": f"open_clip:ViT-B-32/{weights}",
        "enable_mclip_option": False,  # the models of this option and the next would be downloaded
        "provide_aesthetic_embeddings": False,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    url = f"http://127.0.0.1:{port}/knn-service"

    def body(text: str) -> dict[str, Any]:
        return {"text": text, "modality": "image", "num_images": K, "indice_name": "benchmark"}

    with serving(Command([program, "back", *arguments], home), url, body("warm")):
        for text, row in zip(CHECKS, plan.model.encode_text(CHECKS), strict=True):
            hits = ask(url, body(text)).json()
            found = vectors[[hit["id"] for hit in hits]] @ row
            worst = np.abs(found - [hit["similarity"] for hit in hits]).max()
            if len(hits) != K or not worst < SIMILARITY:
                raise ConfigError(f"{len(hits)} hits, off by {worst:.4f} from ours")
        yield _load(plan, url, home, body)


def _build(program: str, vectors: Matrix, home: Path) -> None:
    """Build its index of `vectors`; autofaiss chooses and tunes the kind of index."""
    for name in ("img_emb", "metadata"):
        (home / "embeddings" / name).mkdir(parents=True)
    np.save(home / "embeddings/img_emb/img_emb_0.npy", vectors)
    urls = pa.table({"url": [f"images/{row:08}.jpg" for row in range(len(vectors))]})
    parquet.write_table(urls, home / "embeddings/metadata/metadata_0.parquet")
    command = [program, "index", "--embeddings_folder=embeddings", "--index_folder=index"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode or not (home / "index/image.index").is_file():
        raise RuntimeError(f"clip-retrieval index: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    (home / "indices.json").write_text(json.dumps({"benchmark": "index"}))
