"""What is to be indexed, in the order of its keys."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.collection import read_collection


@pytest.fixture
def folder(tmp_path: Path) -> EmbeddingFolder:
    """Two chunks of two images each, of which three are in the collection."""
    one = EmbeddingFolder(tmp_path)
    for chunk in (1, 2):
        rows = [Row(f"{chunk}{n}.jpg", 3, 0, f"{9 - chunk - n:x}", "0") for n in range(2)]
        vectors = np.array([[chunk, 0], [chunk, 1]], np.float32)
        one.write(chunk, Chunk(vectors, rows, []), "clip", "space")
    one.write_live(np.array([[1, 0, 0], [2, 1, 0], [2, 0, 1]], np.int32))
    return one


def test_images_are_in_the_order_of_their_keys(folder: EmbeddingFolder) -> None:
    """Each with its record and its vector; a shard has those of its remainder."""
    collection = read_collection(folder)

    assert collection.keys["content"].tolist() == [6, 7, 8]
    assert [record.path for record in collection.records] == ["21.jpg", "20.jpg", "10.jpg"]
    assert [record.told_path for record in collection.records] == ["21.jpg", "0.jpg", "10.jpg"]
    assert collection.members(0, 2).tolist() == [0, 2]
    rows = collection.rows(collection.members(0, 2))
    assert rows.vectors.tolist() == [[2, 1], [1, 0]]
    assert [record.path for record in rows.records] == ["21.jpg", "10.jpg"]


def test_equal_inputs_have_one_digest(folder: EmbeddingFolder) -> None:
    """Any other has another."""
    before = read_collection(folder).digest
    assert read_collection(folder).digest == before
    folder.write_live(np.array([[1, 0, 0], [2, 1, 0]], np.int32))

    assert read_collection(folder).digest != before


def test_without_images_or_chunks_there_is_nothing_to_index(folder: EmbeddingFolder) -> None:
    """And the message says what to run."""
    folder.drop([2])
    with pytest.raises(ConfigError, match="not whole"):
        read_collection(folder)
    folder.write_live(np.empty((0, 3), np.int32))
    with pytest.raises(ConfigError, match="no images"):
        read_collection(folder)


def test_embeddings_of_an_older_release_need_a_run(folder: EmbeddingFolder) -> None:
    """They do not say which part of a path answers may tell."""
    folder.write_live(np.array([[1, 0], [2, 1]], np.int32))
    with pytest.raises(ConfigError, match=r"run prepare/save_embedding\.py"):
        read_collection(folder)
