"""Copies of an image in the collection, through all services."""

import base64
import shutil
from collections.abc import Iterator

import pytest
from PIL import Image

from devtools.collection import Collection
from devtools.services import cluster

COPIES = 30


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """The paths found for image 4 by each way of dropping copies.

    It is one of 20 images in two shards, has 30 copies, and is there in another format.
    """
    folder = tmp_path_factory.mktemp("copies")
    collection = Collection(folder, images=20, shards=2)
    original = folder / "images/0004.png"
    for copy in range(COPIES):
        shutil.copy(original, folder / f"images/copy-{copy:02}.png")
    with Image.open(original) as image:
        image.save(folder / "images/same.bmp")
    collection.prepare()
    query = {"image": base64.b64encode(original.read_bytes()).decode(), "k": 10}
    with cluster(collection.config, 2, folder) as services:
        yield {
            dedup: [
                hit["path"]
                for hit in services.front.post("/v1/search", {**query, "dedup": dedup})["hits"]
            ]
            for dedup in ("none", "exact", "near")
        }


def is_copy(path: str) -> bool:
    return "copy" in path or "0004" in path


def test_copies_fill_the_answer_when_they_are_wanted(found: dict[str, list[str]]) -> None:
    """With `none` the ten best are the image and its copies."""
    assert len(found["none"]) == 10
    assert all(is_copy(path) or "same" in path for path in found["none"])


def test_the_same_file_comes_once_and_the_answer_is_still_full(found: dict[str, list[str]]) -> None:
    """With `exact` one of 31 equal files is kept, and nine others are found beyond them."""
    assert len(found["exact"]) == 10
    assert sum(map(is_copy, found["exact"])) == 1
    assert "images/same.bmp" in found["exact"]


def test_what_looks_the_same_comes_once(found: dict[str, list[str]]) -> None:
    """With `near` the same picture in another format is dropped too."""
    assert len(found["near"]) == 10
    assert sum(is_copy(path) or "same" in path for path in found["near"]) == 1
