"""Other projects as contenders: from PyPI, each in its own environment, with its own defaults.

All load the same random ViT-B-32. docs/benchmarks.md lists the changes that this needs. A project
that cannot be installed is left out.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import K, Plan, queries
from benchmarks.turns import Contender, Load
from common.config import CHECKOUT
from common.errors import ConfigError
from common.wire import Matrix
from devtools import loads
from devtools.client_environments import QUIET, programs
from devtools.clip_retrieval_index import build_index
from devtools.other_programs import Command, ask, serving
from devtools.services import free_ports

OPEN_CLIP_NAME = "ViT-B-32::laion2b_e16"  # loaded by the class of open_clip, like our weights
COSINE = 0.99  # the same weights give .9999 or more
SIMILARITY = 0.005
CHECKS = ("a red bicycle near the beach", "two dogs", "an old lighthouse at dusk in a storm")
SERVER = CHECKOUT / "devtools/clip_as_service.py"
CLIP_AS_SERVICE, CLIP_RETRIEVAL = "clip-as-service", "clip-retrieval"
Body = Callable[[str], dict[str, Any]]


def contenders(plan: Plan, vectors: Matrix) -> list[Contender]:
    """clip-as-service, which only embeds, and clip-retrieval, which searches the same vectors."""
    return [
        Contender(CLIP_AS_SERVICE, partial(_embedding, plan)),
        Contender(CLIP_RETRIEVAL, partial(_clip_retrieval, plan, vectors)),
    ]


def _home(plan: Plan, name: str) -> tuple[Path, Path]:
    """The weights, and a folder for the files of a project."""
    if not plan.weights:
        raise ConfigError("only the random ViT-B-32 is measured in other projects")
    home = plan.folder / name
    home.mkdir(exist_ok=True)
    return plan.weights.resolve(), home


def _load(plan: Plan, url: str, home: Path, body: Body) -> Load:
    """A longer load: without batches an answer may wait for 127 other answers."""
    sent = (json.dumps(body(text)).encode() for text in queries())
    return lambda: loads.wrk(url, sent, home, 4 * plan.seconds)


@contextmanager
def _embedding(plan: Plan) -> Iterator[Load]:
    """Text to embedding by the HTTP gateway of clip-as-service."""
    with clip_as_service(plan) as (url, _):
        yield _load(plan, url, plan.folder, _post)


def _post(text: str) -> dict[str, Any]:
    return {"data": [{"text": text}], "execEndpoint": "/encode"}


@contextmanager
def clip_as_service(plan: Plan) -> Iterator[tuple[str, str]]:
    """Its server with torch; yields its addresses for a POST and for gRPC. Raises ConfigError."""
    weights, home = _home(plan, CLIP_AS_SERVICE)
    python, ports = str(programs("clip-server") / "python"), free_ports(2)
    told = [str(weights), OPEN_CLIP_NAME, *map(str, ports)]
    command = Command([python, str(SERVER), *told], home, QUIET)
    url = f"http://127.0.0.1:{ports[0]}/post"
    with serving(command, url, _post("warm")):
        check_embeddings(plan, url)
        yield url, f"grpc://127.0.0.1:{ports[1]}"


def check_embeddings(plan: Plan, url: str) -> None:
    """Raise ConfigError if CLIP-as-service's POST answers with other embeddings than ours."""
    for text, row in zip(CHECKS, plan.model.encode_text(CHECKS), strict=True):
        theirs = np.array(ask(url, _post(text)).json()["data"][0]["embedding"])
        cosine = float(row @ theirs / np.linalg.norm(theirs))
        if not cosine > COSINE:
            raise ConfigError(f"a cosine of {cosine:.4f} with our embedding")


@contextmanager
def _clip_retrieval(plan: Plan, vectors: Matrix) -> Iterator[Load]:
    """Text to ten hits by its back end, over an index that its `index` command builds."""
    weights, home = _home(plan, CLIP_RETRIEVAL)
    (port,) = free_ports(1)
    program = str(programs(CLIP_RETRIEVAL) / "clip-retrieval")
    build_index(program, vectors, home)
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
