"""Preparing a compact index: versions, damage, a full disk, and a package that is not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from devtools.services import run_command
from search.manifest import MANIFEST, BadIndex
from tests.chaos.damage import reseal
from tests.prepare.prepared_folder import PREPARE, Workspace, add_images
from tests.prepare.searching import brute_force, search, unit_queries
from tests.prepare.version_files import files_in_use

BUILD = "prepare/build_index.py"


@pytest.fixture
def compact(twelve: Workspace) -> Workspace:
    """Twelve images with a compact index, version 2, after an index of hnswlib's, version 1."""
    made = twelve.having(index="compact")
    made.prepare(script=BUILD)
    return made


def test_the_kind_is_an_input_of_a_version(compact: Workspace, twelve: Workspace) -> None:
    """Another kind is another version of the same images; going back takes the first again."""
    assert {"compact"} == {segment.kind for segment in compact.manifest().segments}
    assert "version v000002: 12 images" in compact.prepare(script=BUILD)
    assert {"version v000001"} == {twelve.prepare(script=BUILD).split(":")[0]}


def test_the_recall_of_a_compact_index_is_measured(compact: Workspace) -> None:
    """By true cosines, so rounding makes no miss of a hit: all of few images are found."""
    version, queries = compact.load(), unit_queries(20, 16)

    found = [[score for score, _ in hits] for hits in search(version, queries, 5, 64)]

    assert 1 == version.manifest.recall.value
    np.testing.assert_allclose(brute_force(version, queries, 5), found, rtol=0, atol=1e-5)


def test_damage_to_either_file_is_seen_and_built_anew(compact: Workspace) -> None:
    """A flipped bit in the index or in its vectors is refused, and prepare makes another."""
    for number, suffix in enumerate(("compact", "float16"), 2):
        path = files_in_use(compact)[f"1-0.{suffix}"]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(BadIndex, match=path.name):
            compact.load()
        assert f"version v{number + 1:06}" in compact.prepare(script=BUILD)


def test_a_kind_that_is_none_is_refused(twelve: Workspace) -> None:
    """In the configuration by the start, in a manifest by the load."""
    done = twelve.having(index="small").run(script=BUILD)
    path = twelve.folders.index / "v000001" / MANIFEST
    shards = json.dumps(json.loads(path.read_bytes())["shards"])
    reseal(path, {"shards": json.loads(shards.replace('"hnsw"', '"small"'))})

    assert 2 == done.returncode
    assert "Prepare.index" in done.stderr
    with pytest.raises(BadIndex, match="small"):
        twelve.load()


@pytest.mark.parametrize("limit_bytes", [10_000, 30_000])
def test_a_full_disk_fails_the_run_and_changes_nothing(twelve: Workspace, limit_bytes: int) -> None:
    """No room for the index, nor for what of it comes last: one clear line, CURRENT untouched."""
    large = twelve.having(shards=1, index="compact", chunk_size=100)
    add_images(large.images, range(12, 212))

    done = large.limited(f"--fsize={limit_bytes}")

    assert 2 == done.returncode
    assert done.stderr.splitlines()[-1].startswith("error: cannot write into ")
    assert "Traceback" not in done.stderr
    assert "v000001" == large.current()
    large.prepare()
    assert 212 == len(large.ids())


@pytest.fixture
def without_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are started find no faiss."""
    (tmp_path / "faiss.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("without_faiss")
def test_without_its_package_prepare_says_what_to_install(twelve: Workspace) -> None:
    """Before it embeds anything; and what is there stays in use."""
    add_images(twelve.images, range(12, 20))

    done = run_command(PREPARE, twelve.having(index="compact").config, cwd=twelve.root)

    assert 2 == done.returncode
    assert "error: Prepare.index compact needs: pip install faiss-cpu\n" == done.stderr
    assert "v000001" == twelve.current()
    assert 12 == twelve.embedded()
