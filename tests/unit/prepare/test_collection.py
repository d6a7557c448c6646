"""What is to be indexed, in the order of its keys."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.collection import read_collection
from prepare.members import MEMBERS, Member, write_members


@pytest.fixture
def folder(tmp_path: Path) -> EmbeddingFolder:
    """Two chunks of two images each, of which three are in the collection."""
    one = EmbeddingFolder(tmp_path)
    for chunk in (1, 2):
        rows = [
            Row(f"{chunk}{n}.jpg", 3, 0, f"{9 - chunk - n:x}" + 15 * "0", "0") for n in range(2)
        ]
        vectors = np.array([[chunk, 0], [chunk, 1]], np.float32)
        one.write(chunk, Chunk(vectors, rows, []), "clip", "space")
    members = [member(1, 0), member(2, 1), member(2, 0, offline=True, told_from=1)]
    write_members(one, members)
    return one


def member(chunk: int, row: int, **more: Any) -> Member:
    return Member(f"{chunk}{row}.jpg", 3, 0, chunk, row, **more)


def test_images_are_in_the_order_of_their_keys(folder: EmbeddingFolder) -> None:
    """Each with its record and its vector; a shard has a range of them."""
    collection = read_collection(folder)

    assert collection.keys["content"].tolist() == [6 << 60, 7 << 60, 8 << 60]
    assert [record.path for record in collection.records] == ["21.jpg", "20.jpg", "10.jpg"]
    assert [record.told_path for record in collection.records] == ["21.jpg", "0.jpg", "10.jpg"]
    assert collection.members(0, 2).tolist() == [0, 1]
    rows = collection.rows(collection.members(0, 2))
    assert rows.vectors.tolist() == [[2, 1], [2, 0]]
    assert [record.path for record in rows.records] == ["21.jpg", "20.jpg"]


def test_equal_inputs_have_one_digest(folder: EmbeddingFolder) -> None:
    """Any other has another."""
    before = read_collection(folder).digest
    assert read_collection(folder).digest == before
    changes = [[member(1, 0, metadata={"year": 1})], [member(1, 0, offline=True)], [member(2, 0)]]
    digests = {before}
    for members in changes:
        write_members(folder, members)
        digests.add(read_collection(folder).digest)

    assert len(digests) == 4


def test_an_image_is_called_what_it_is_called_now(folder: EmbeddingFolder) -> None:
    """Not as when it was embedded; where its file is absent, its record says so."""
    write_members(folder, [Member("moved.jpg", 3, 0, 2, 1), member(2, 0, offline=True)])

    records = read_collection(folder).records

    assert {("moved.jpg", False), ("20.jpg", True)} == {(one.path, one.offline) for one in records}


def test_the_facts_of_a_file_are_those_of_now(folder: EmbeddingFolder) -> None:
    """What its content tells is from its embedding; a copy has a size and a time of its own."""
    vectors = np.array([[3, 0]], np.float32)
    told = Row("30.jpg", 3, 0, "3", "0", facts={"taken": "2024-05-01T12:00:00", "camera": "X"})
    folder.write(3, Chunk(vectors, [told], []), "clip", "space")
    noon = 1714564800 * 10**9
    copies = [Member("30.jpg", 3, noon, 3, 0), Member("b.jpg", 4, 10**30, 3, 0), member(1, 0)]
    write_members(folder, copies)

    facts = {record.path: record.facts for record in read_collection(folder).records}

    assert {"size": 3, "modified": "2024-05-01T12:00:00+00:00", **told.facts} == facts["30.jpg"]
    assert {"size": 4, **told.facts} == facts["b.jpg"]
    assert {"size": 3, "modified": "1970-01-01T00:00:00+00:00"} == facts["10.jpg"]


def test_without_images_or_chunks_there_is_nothing_to_index(folder: EmbeddingFolder) -> None:
    """And the message says what to run."""
    folder.drop([2])
    with pytest.raises(ConfigError, match="not whole"):
        read_collection(folder)
    write_members(folder, [Member("broken.jpg", 3, 0, 1, -1)])
    with pytest.raises(ConfigError, match="no images"):
        read_collection(folder)
    (folder.path / MEMBERS).unlink()
    with pytest.raises(ConfigError, match="no embeddings yet"):
        read_collection(folder)
