"""The shelf of a search server in this process: how long it keeps what, and when it looks again."""

import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import NotFound
from search import shelf
from search.manifest import (
    MANIFEST,
    Current,
    Folders,
    Named,
    read_current,
    write_current,
)
from search.shelf import Shelf
from tests.chaos.damage import copy_version, flip, folders_of, reseal
from tests.collection import Collection


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """12 images, version 1."""
    Collection(tmp_path, images=12, shards=1)
    return folders_of(tmp_path)


@pytest.fixture
def held(folders: Folders) -> Shelf:
    """A shelf that holds version 1; nothing but the test looks for another."""
    one = Shelf(folders, range, 1.0)
    one.refresh()
    return one


def swap(folders: Folders) -> None:
    """Put version 2 in use."""
    current = read_current(folders)
    assert current is not None
    write_current(folders, Current(copy_version(folders, "v000001", "v000002"), current.now))


def test_the_version_before_stays_while_it_is_asked_for(
    folders: Folders, held: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long after the swap, when it was asked for by its seal just now; then it goes."""
    monkeypatch.setattr(shelf, "KEEP_OLD_S", 1.0)
    seal = held.newest().manifest.named.sha256
    swap(folders)
    held.refresh()
    time.sleep(1.1)
    assert "v000001" == held.get(seal).manifest.version
    held.refresh()
    assert "v000001" == held.get(seal).manifest.version
    assert "v000002" == held.newest().manifest.version

    monkeypatch.setattr(shelf, "KEEP_OLD_S", 0.0)
    held.refresh()
    with pytest.raises(NotFound):
        held.get(seal)


def test_a_refused_version_is_looked_at_again(
    folders: Folders, held: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files may have been on their way: after a while, not at each look, it is taken."""
    swap(folders)
    path = folders.index / "v000002/shard-000.hnsw"
    flip(path, np.random.default_rng(0))
    held.refresh()
    assert held.refusal is not None
    path.unlink()
    path.hardlink_to(folders.index / "v000001/shard-000.hnsw")

    held.refresh()
    assert "v000001" == held.newest().manifest.version
    monkeypatch.setattr(shelf, "TRY_AGAIN_S", 0.0)
    held.refresh()
    assert "v000002" == held.newest().manifest.version
    assert held.refusal is None


def test_a_version_made_anew_under_an_old_name_is_taken(folders: Folders, held: Shelf) -> None:
    """As when somebody deletes all data and prepares again beside a running server."""
    sha256 = reseal(folders.index / "v000001" / MANIFEST, {"created": "later"})
    write_current(folders, Current(Named("v000001", sha256)))

    held.refresh()

    assert "later" == held.newest().manifest.created
