"""Growth, measured small, and the collections that it keeps."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import generated, growth
from common.config import Config, Inference, Loaded
from devtools.collection import Collection


def test_collections_and_indexes_are_made_once(collection: Collection, tmp_path: Path) -> None:
    """A second call finds them; another number of shards is another index of the same vectors."""
    model = collection.model()
    first = generated.generate(model, 300, tmp_path)
    vectors = generated.read_vectors(first)
    one = generated.index({}, 1, first)
    three = generated.index({}, 3, first)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    assert (300, model.dim) == vectors.shape
    assert np.allclose(1, np.linalg.norm(vectors, axis=1))
    assert first == generated.generate(model, 300, tmp_path)
    assert three == generated.index({}, 3, first)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert one["Prepare"]["index-dir"] != three["Prepare"]["index-dir"]


def test_only_large_indexes_are_built_with_less_effort() -> None:
    """The index of a million says in its configuration what it was built with."""
    assert {} == growth.built({}, 100_000)
    assert {"Prepare": {"ef-construction": 100}} == growth.built({}, 1_000_000)


def test_every_size_has_its_figures(
    collection: Collection, wrk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries are answered without an error, and each search server started counts its memory."""
    for name, seconds in {"WARM_UP_S": 1, "ALONE_S": 2, "LOADED_S": 3}.items():
        monkeypatch.setattr(growth, name, seconds)
    loaded = Loaded(Config(inference=Inference(clip="tiny", mclip=None)), collection.folder)

    found = {one.name: one.value for one in growth.measure(loaded, wrk, [200], [1, 2])}

    for what in ("200 vectors, 1 shards", "200 vectors, 2 shards"):
        assert 0 == found[f"{what}: errors"]
        assert found[f"{what}: queries, 128 clients"] > 0
        assert 0 < found[f"{what}: p50, one client"] <= found[f"{what}: p99, one client"]
        assert found[f"{what}: start of one search server"] > 0
    one, two = (found[f"200 vectors, {n} shards: search servers, all"] for n in (1, 2))
    assert 1.5 * one < two
