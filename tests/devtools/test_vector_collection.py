"""Collections of vectors, which are generated once."""

from pathlib import Path

import numpy as np

from devtools.collection import Collection
from devtools.vector_collection import generate, index, read_vectors


def test_collections_and_indexes_are_made_once(collection: Collection, tmp_path: Path) -> None:
    """A second call finds them; another number of shards is another index of the same vectors."""
    model = collection.model()
    first = generate(model, 300, tmp_path)
    vectors = read_vectors(first)
    one = index({}, 1, first)
    three = index({}, 3, first)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    assert (300, model.dim) == vectors.shape
    assert np.allclose(1, np.linalg.norm(vectors, axis=1))
    assert first == generate(model, 300, tmp_path)
    assert three == index({}, 3, first)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert one["Prepare"]["index-dir"] != three["Prepare"]["index-dir"]


def test_what_is_built_otherwise_is_another_index(collection: Collection, tmp_path: Path) -> None:
    """By its kind, or by how its links are made."""
    made = generate(collection.model(), 300, tmp_path)
    settings: list[dict[str, object]] = [{}, {"M": 12}, {"ef-construction": 100}]
    folders = {index({"Prepare": each}, 1, made)["Prepare"]["index-dir"] for each in settings}

    assert 3 == len(folders)
