"""Small collections of generated images, indexed with the tiny model, and exact search in them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.wire import Matrix
from devtools.fork_server import run_forked
from devtools.services import with_section
from devtools.tiny_model import write_tiny_model
from inference.clip.model import Model, load_model


class Collection:
    """A folder with a model, images and their index; services run with `config`.

    `prepare` sets keys of the config section Prepare, with `_` for `-`.
    """

    def __init__(self, folder: Path, images: int, shards: int, **prepare: Any) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {"Inference": {"clip": "tiny", "mclip": None}}
        self.config = with_section(self.config, "Search", shards=shards)
        self.config = with_section(self.config, "Prepare", images=["images"], **prepare)
        write_tiny_model(folder / "tiny")
        self.write_images(range(images))
        self.prepare()

    def write_images(self, numbers: range) -> None:
        """Write an image of random pixels for each number; a number always gives the same image."""
        (self.folder / "images").mkdir(exist_ok=True)
        for number in numbers:
            pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.folder / f"images/{number:04}.png")

    def prepare(self) -> str:
        """Run prepare; returns what it printed."""
        done = run_forked("prepare/prepare.py", self.config, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def model(self) -> Model:
        """The model, loaded in this process."""
        return load_model("tiny", root=self.folder)

    def paths(self) -> list[str]:
        """The images, as the index names them."""
        return sorted(f"images/{path.name}" for path in (self.folder / "images").iterdir())

    def vectors(self) -> Matrix:
        """The embeddings of `paths`, made in this process, each image in a batch of its own."""
        model = self.model()
        return np.concatenate(
            [model.encode_images([(self.folder / path).read_bytes()]) for path in self.paths()]
        )

    def brute_force(self, query: Matrix, k: int) -> list[str]:
        """The paths of the k images nearest to a vector, by exact search."""
        paths = self.paths()
        order = np.argsort(-(self.vectors() @ query), kind="stable")
        return [paths[i] for i in order[:k]]
