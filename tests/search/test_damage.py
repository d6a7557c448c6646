"""A running search server refuses what is not as it was written, and answers from what it has."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from common.errors import ConfigError
from devtools.vectors import unit
from search import canaries, hnsw
from search.ann_index import Build
from search.manifest import MANIFEST, read_manifest
from search.segment_files import ShardFiles, describe
from tests.chaos.damage import Watched, flips, replace, watched

FLIPS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A search server over 40 images."""
    with watched(tmp_path_factory.mktemp("collection")) as one:
        yield one


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    """In indexes, keys, records, offsets, canaries, manifests and CURRENT: each time, by name."""
    assert FLIPS == len(flips(tmp_path, FLIPS))


@pytest.mark.parametrize("suffix", ["hnsw", "canaries", "records", "offsets", "keys", "MANIFEST"])
def test_a_truncated_or_missing_file_is_refused(server: Watched, suffix: str) -> None:
    """Half a file, an empty one and none."""

    def find(files: list[Path]) -> Path:
        return next(path for path in files if path.name.endswith(suffix))

    def cut(files: list[Path], share: float) -> Path:
        data = (path := find(files)).read_bytes()
        replace(path, data[: int(share * len(data))])
        return path

    def remove(files: list[Path]) -> Path:
        (path := find(files)).unlink()
        return path

    server.refuses(lambda files: cut(files, 0.5))
    server.refuses(lambda files: cut(files, 0))
    assert "No such file" in server.refuses(remove)


def version_of(files: list[Path]) -> Path:
    return next(path for path in files if path.name == MANIFEST).parent


def test_another_dimension_is_refused(server: Watched) -> None:
    """A manifest, sealed and all, whose dimension is not that of its indexes."""
    first = read_manifest(server.folders, "v000001").shards[0].segments[0].index.name

    def index_of(files: list[Path]) -> Path:
        return next(path for path in files if path.name.endswith(first))

    reason = server.refuses(index_of, dim=24)
    assert "vectors of 16 numbers, not 24" in reason


def test_another_model_is_refused_until_a_new_start(server: Watched) -> None:
    """A whole version of another image tower: no running server changes its space."""
    reason = server.refuses(version_of, space="other", model="other")
    assert "of another model, other" in reason


def test_a_poor_index_is_refused_by_its_canaries(server: Watched, tmp_path: Path) -> None:
    """Files that are just as written, but whose index finds other images than the nearest."""
    manifest = read_manifest(server.folders, "v000001")
    (segment,) = manifest.shards[0].segments
    count, dim = segment.count, manifest.dim
    others = np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)
    poor = hnsw.write(tmp_path, "shard-000", unit(others), Build("hnsw", 16, 200, 1, 64))
    written = msgspec.structs.replace(describe(poor.index_path), name=segment.index.name)
    harmed = ShardFiles([msgspec.structs.replace(segment, index=written)])
    shards = [msgspec.to_builtins(one) for one in (harmed, *manifest.shards[1:])]

    def harm(files: list[Path]) -> Path:
        path = next(path for path in files if path.name.endswith(segment.index.name))
        replace(path, poor.index_path.read_bytes())
        return path

    assert "canary queries find 0." in server.refuses(harm, shards=shards)


def test_a_poor_index_is_not_made(tmp_path: Path) -> None:
    """Where its own canaries find less than half, prepare says what to raise."""
    vectors, others = (
        unit(np.random.default_rng(seed).standard_normal((500, 16)).astype(np.float32))
        for seed in range(2)
    )
    paths = hnsw.write(tmp_path, "shard-000", others, Build("hnsw", 16, 200, 1, 64))

    with pytest.raises(ConfigError, match=r"raise Prepare\.M"):
        canaries.draw(vectors, hnsw.load(paths, 16, 500), 64)


def test_refusals_are_counted(server: Watched) -> None:
    """The counter tells of each, the gauge of the version in use, and the log of the reason."""
    before = len(server.reasons)
    reason = server.refuses(version_of, space="other", model="other")
    metrics = server.service.request("GET", "/metrics").data.decode()

    assert f"clip_search_index_refused_total {before + 1}.0" in metrics
    assert 'clip_search_index_in_use{version="v000001"} 1.0' in metrics
    assert any(reason in line for line in server.service.output)
