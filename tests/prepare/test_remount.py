"""G: three roots of many small files; one is unmounted, moved, mounted again: none embedded twice.

REMOUNT_FILES=100000 runs it at full size.
"""

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from common.config import Loaded, parse
from prepare import build_index, chunk_tasks, save_embedding
from prepare.embed_run import EmbedRun
from prepare.roots import Change
from tests.prepare.stub_tower import SPACE, StubTower

FILES = int(os.environ.get("REMOUNT_FILES", "600"))
ROOTS = ("a", "b", "c")
CONFIG = """{"Prepare": {"images": ["a", "b", "c"], "M": 4, "ef-construction": 10},
  "Search": {"server-list": ["127.0.0.1:1"]}}"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The files, no two alike, a third in each root."""
    pixels = np.random.default_rng(0).integers(0, 256, (FILES, 4, 4, 3), dtype=np.uint8)
    for root in ROOTS:
        (tmp_path / root).mkdir()
    for number in range(FILES):
        path = tmp_path / ROOTS[number % 3] / f"{number:06}.png"
        Image.fromarray(pixels[number]).save(path, compress_level=0)
    return tmp_path


class Runs:
    """prepare over a folder, with a stub for the model."""

    def __init__(self, base: Path) -> None:
        self.tower = StubTower()
        self._loaded = Loaded(parse(CONFIG), base)

    def prepare(self, change: Change = save_embedding.NO_CHANGE) -> EmbedRun:
        """Embed and index."""
        model: dict[str, Any] = {
            "load_model": lambda *_, **__: self.tower.model(),
            "space_of_model": lambda *_: SPACE,
        }
        with patch.multiple(chunk_tasks, **model):
            run = save_embedding.save_embeddings(self._loaded, change)
        assert build_index.build(self._loaded).count == run.images == FILES
        return run


def test_no_picture_is_embedded_twice(base: Path) -> None:
    """Unmounted its third is offline; at another place, and back, it is as it was."""
    runs, third = Runs(base), FILES // 3
    assert runs.prepare().embedded == FILES

    (base / "c").rename(base / "away")
    assert sum(runs.prepare().offline.values()) == third
    (base / "c").mkdir()
    assert sum(runs.prepare().offline.values()) == third

    (base / "away").rename(base / "d")
    moved = runs.prepare(Change(add=(base / "d",)))
    assert (moved.read, moved.offline) == (third, {})

    (base / "c").rmdir()
    (base / "d").rename(base / "c")
    back = runs.prepare()
    assert (back.read, back.offline) == (0, {}), "known by path, size and time"
    assert runs.prepare(Change(remove=(base / "d",))).read == 0

    assert len(runs.tower.seen) == len(set(runs.tower.seen)) == FILES
