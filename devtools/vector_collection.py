"""Collections of generated vectors and their indexes, kept on disk under their settings."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from common.config import Loaded, parse
from common.wire import Matrix
from devtools.services import with_section
from devtools.vectors import make_vectors, save_vectors
from devtools.words import all_queries
from inference.clip.model import Model
from prepare.build_index import build
from prepare.chunks import EmbeddingFolder
from search.manifest import BadIndex, Folders, folders_of, manifest_in_use


def generate(model: Model, count: int, folder: Path) -> Path:
    """The folder of `count` generated vectors and their indexes; generates them if needed."""
    path = folder / f"{model.name.replace('/', '-')}-{model.space[:8]}-{count}"
    if not path.exists():
        partial = path.with_suffix(
            ".tmp"
        )  # a killed run leaves no incomplete folder under the name
        shutil.rmtree(partial, ignore_errors=True)
        save_vectors(make_vectors(model, all_queries(), count), model, partial / "embeddings")
        partial.rename(path)
    return path


def read_vectors(collection: Path) -> Matrix:
    """The vectors of a collection, in the order of their images' numbers."""
    embeddings = EmbeddingFolder(collection / "embeddings")
    return np.concatenate([embeddings.vectors(entry) for entry in embeddings.entries()])


def index(config: dict[str, Any], shards: int, collection: Path) -> dict[str, Any]:
    """`config` with an index of a collection in so many shards; builds the index if needed.

    `config` has the settings of the index. They are a part of the names of its folders.
    """
    config = with_section(config, "Search", shards=shards, server_list=["127.0.0.1:0"])
    settings = parse(msgspec.json.encode(config)).prepare
    suffix = f"{shards}-{settings.index}-{settings.M}-{settings.ef_construction}"
    folders = [str(collection / f"{kind}-{suffix}") for kind in ("index", "path", "hash")]
    names = dict(zip(("index_dir", "path_dir", "hash_dir"), folders, strict=True))
    config = with_section(config, "Prepare", embedding_dir=str(collection / "embeddings"), **names)
    try:
        manifest_in_use(index_folders(config))
    except BadIndex:
        build(Loaded(parse(msgspec.json.encode(config)), collection))
    return config


def index_folders(config: dict[str, Any]) -> Folders:
    """The folders of the index that a `config` of `index` names."""
    prepare = parse(msgspec.json.encode(config)).prepare
    return folders_of(Path(), prepare.index_dir, prepare.path_dir, prepare.hash_dir)
