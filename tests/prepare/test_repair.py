"""Running prepare again puts right what has gone wrong since."""

from pathlib import Path

import numpy as np
import pytest

from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import with_section
from tests.chaos.damage import flip, folders_of, index_file


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """12 images in two shards."""
    return Collection(tmp_path, images=12, shards=2)


def test_a_damaged_index_is_built_anew(collection: Collection) -> None:
    """With a byte flipped in the version in use, the next run makes another."""
    flip(index_file(folders_of(collection.folder), "v000001", 1), np.random.default_rng(0))

    assert "v000002: 12 images" in collection.prepare()


def test_an_image_over_a_limit_is_taken_once_the_limit_is_raised(collection: Collection) -> None:
    """What a limit of the configuration refused is looked at again, what is broken is not."""
    (collection.folder / "images/broken.png").write_bytes(b"no image")
    small = with_section(collection.config, "Inference", max_pixels=100)
    prepare = with_section(small, "Prepare", embedding_dir="other")
    first = run_forked("prepare/save_embedding.py", prepare, cwd=collection.folder)
    raised = with_section(prepare, "Inference", max_pixels=1000)
    second = run_forked("prepare/save_embedding.py", raised, cwd=collection.folder)
    third = run_forked("prepare/save_embedding.py", raised, cwd=collection.folder)

    assert "0 images, 13 looked at in this run, 13 skipped" in first.stdout
    assert "12 images, 12 looked at in this run, 1 skipped" in second.stdout
    assert "12 images, 0 looked at in this run, 1 skipped" in third.stdout


def test_a_lost_journal_line_is_told(collection: Collection) -> None:
    """Without the line of a chunk in use, build_index says what to run."""
    (collection.folder / "data/embeddings/journal.jsonl").write_text("")
    done = run_forked("prepare/build_index.py", collection.config, cwd=collection.folder)
    again = collection.prepare()

    assert 2 == done.returncode
    assert "save_embedding.py" in done.stderr
    assert "12 images, 12 looked at" in again
