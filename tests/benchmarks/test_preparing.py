"""Preparing, measured small."""

import io
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import preparing
from common.config import Inference
from devtools.collection import Collection
from devtools.photos import photo, write_photos


def test_no_two_photos_are_equal_and_a_number_is_always_the_same() -> None:
    """They are JPEGs with the long side that was asked for."""
    files = [photo(number, 100) for number in range(150)]

    assert 150 == len(set(files))
    assert files[7] == photo(7, 100)
    assert {100} == {max(Image.open(io.BytesIO(file)).size) for file in files}


def test_photos_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    """More of them leave the first ones alone."""
    first = write_photos(tmp_path, 3, 50)
    first[1].write_bytes(b"kept")

    assert first == write_photos(tmp_path, 5, 50)[:3]
    assert b"kept" == first[1].read_bytes()
    assert 5 == len(list(tmp_path.iterdir()))


def test_every_figure_of_preparing_is_there(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embedding, a run without changes, and indexing, with the tiny model and few images."""
    small = {"SECONDS": 0, "TRY_S": 0.01, "DECODED": 20, "UNCHANGED": 30, "VECTORS": 500}
    for name, value in small.items():
        monkeypatch.setattr(preparing, name, value)
    tiny = str(collection.folder / "tiny")

    for _ in range(2):  # what the first run left does not stop the second
        found = {one.name: one for one in preparing.measure(tiny, Inference(mclip=None), tmp_path)}

    # 500 tiny vectors are less than by what the memory of two processes differs, and 20 images take
    # less time than by what two starts differ
    within_noise = ("memory", "images/s", "ratio")
    assert all(one.value > 0 or one.unit.endswith(within_noise) for one in found.values()), found
    assert found["recall@10 at ef 64"].value > 0.9
    assert found["the index on disk, a vector"].value > 4 * 16
    assert found["save_embedding of 30 images, none of them changed"].at_most == 5
