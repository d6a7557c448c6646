"""The plan of a run: model, collection, sizes and durations."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from common.config import Config, Inference, Loaded
from common.wire import Matrix
from devtools import vector_collection
from devtools.services import with_section
from devtools.vectors import TOPICS
from devtools.words import all_queries
from inference.clip.model import Model, load_model
from inference.clip.registry import find_model

FOLDER = "data/benchmarks"  # kept between runs; a million vectors with their index take 4.5 GB
LARGE = 500_000
LARGE_EF_CONSTRUCTION = 100  # for LARGE or more vectors; the default, 200, takes twice as long
K = 10


def queries() -> Iterator[str]:
    """Every query that no vector was made of, once."""
    return itertools.islice(all_queries(), TOPICS, None)


@dataclass(frozen=True)
class Plan:
    """The options of benchmarks/bench.py, and where files go."""

    loaded: Loaded  # the configuration, with the measured model, runtime and precision
    configured: str  # the model that the configuration names
    weights: Path | None  # of the random ViT-B-32, as open_clip saves them; else None
    rounds: int
    seconds: float  # of a load; some loads last a multiple
    idle_s: float  # seconds before a load, at most, until the machine is idle
    vectors: int
    shards: tuple[int, ...]
    workers: Sequence[int]
    batches: Sequence[int] | None  # sizes for both towers in the section runtimes
    device: str
    runtimes: Sequence[str]  # NAME:PRECISION, for the section runtimes
    beside: Path | None  # another checkout, measured in turn with this checkout
    folder: Path  # temporary

    @property
    def inference(self) -> Inference:
        """The settings of the measured model."""
        return self.loaded.config.inference

    @property
    def model_folder(self) -> Path:
        """The folder of the measured model; raises ConfigError."""
        return find_model(self.inference.clip, self.loaded.root).resolve()

    @functools.cached_property
    def model(self) -> Model:
        """The measured model, loaded in this process; raises ConfigError."""
        return self.load()

    def load(self, text: bool = True, image: bool = True) -> Model:
        """Load the model again, or a single tower of it."""
        root = self.loaded.root
        return load_model(self.inference.clip, self.inference, root, text=text, image=image)

    def collection(self, count: int | None = None) -> Path:
        """The folder of `count` generated vectors; generates them if needed."""
        folder = self.loaded.path(FOLDER)
        return vector_collection.generate(self.model, count or self.vectors, folder)

    def truth(self) -> Matrix:
        """The vectors of the collection, for exact search."""
        return vector_collection.read_vectors(self.collection())

    def config(self, shards: int, count: int | None = None, cache: str = "off") -> dict[str, Any]:
        """The services' settings for an index of the collection; builds the index if needed."""
        config = with_section(self.services(), "Middle", cache=cache)
        if (count or self.vectors) >= LARGE:
            config = with_section(config, "Prepare", ef_construction=LARGE_EF_CONSTRUCTION)
        return vector_collection.index(config, shards, self.collection(count))

    def services(self) -> dict[str, Any]:
        """The given settings, on loopback and without mclip, as all queries are English."""
        usual = msgspec.to_builtins(Config())
        config: dict[str, Any] = {  # an older checkout may not know every key
            section: {key: value for key, value in keys.items() if value != usual[section][key]}
            for section, keys in msgspec.to_builtins(self.loaded.config).items()
            if keys  # a section may be off
        }
        for section in ("Front", "Middle", "Inference"):
            config = with_section(config, section, address="127.0.0.1", port=0)
        config = with_section(config, "Inference", clip=str(self.model_folder), mclip=None)
        return with_section(config, "Search", shards=None, inner_port=None)
