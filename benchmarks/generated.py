"""Generated collections and their indexes, kept on disk under what they were made of."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from devtools.vectors import TOPICS, make_vectors, save_vectors
from devtools.words import all_queries
from common.config import Config, Loaded, parse
from common.wire import Matrix
from inference.clip.model import Model
from inference.clip.registry import find_model
from prepare.build_index import build
from prepare.chunks import EmbeddingFolder
from search.manifest import BadIndex, Folders, manifest_in_use
from devtools.services import with_section

FOLDER = "data/benchmarks"
"""Where they are kept: a million vectors of 512 numbers and their index take 4.5 GB."""


def queries() -> Iterator[str]:
    """Every query that the vectors were not made of, once."""
    return itertools.islice(all_queries(), TOPICS, None)


def generate(model: Model, count: int, folder: Path) -> Path:
    """The folder of `count` generated vectors and their indexes, made where it is not there."""
    path = folder / f"{model.name.replace('/', '-')}-{model.space[:8]}-{count}"
    if not path.exists():
        partial = path.with_suffix(".tmp")  # a killed run leaves no half of it under its name
        shutil.rmtree(partial, ignore_errors=True)
        save_vectors(make_vectors(model, all_queries(), count), model, partial / "embeddings")
        partial.rename(path)
    return path


def index(config: dict[str, Any], shards: int, collection: Path) -> dict[str, Any]:
    """`config` over the index of so many shards of a collection, built where it is not there.

    How it is built is as `config` says, and a part of the folders' names.
    """
    config = with_section(config, "Search", shards=None, server_list=["127.0.0.1:0"] * shards)
    settings = parsed(config).prepare
    names = {
        f"{name}_dir": str(collection / f"{name}-{shards}-{settings.M}-{settings.ef_construction}")
        for name in ("index", "path", "hash")
    }
    config = with_section(config, "Prepare", embedding_dir=str(collection / "embeddings"), **names)
    try:
        manifest_in_use(
            Folders(*map(Path, (names["index_dir"], names["path_dir"], names["hash_dir"])))
        )
    except BadIndex:
        build(Loaded(parsed(config), collection))
    return config


def service_config(loaded: Loaded) -> dict[str, Any]:
    """The config of the services: as given, but on loopback and without mclip: all is English.

    Nothing is kept from one query to the next but where a benchmark says so.
    """
    config: dict[str, Any] = msgspec.to_builtins(loaded.config)
    for section in ("Front", "Middle", "Inference"):
        config = with_section(config, section, address="127.0.0.1")
    model = str(find_model(loaded.config.inference.clip, loaded.root))
    config = with_section(config, "Inference", clip=model, mclip=None)
    config = with_section(config, "Middle", cache="off")
    return with_section(config, "Search", shards=None, inner_port=None)


def parsed(config: dict[str, Any]) -> Config:
    """The same as the services read it."""
    return parse(msgspec.json.encode(config))


def read_vectors(collection: Path) -> Matrix:
    """The vectors of a collection, in the order of their images' numbers."""
    embeddings = EmbeddingFolder(collection / "embeddings")
    return np.concatenate([embeddings.vectors(entry) for entry in embeddings.entries()])
