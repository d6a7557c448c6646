"""10,000 images with broken ones among them, killed -9 again and again: nothing is lost or torn."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.kills import (
    BROKEN_EVERY,
    CHUNK,
    FIRST,
    IMAGES,
    Reader,
    Unbroken,
    facts,
    files_of,
    indexing,
    kill,
    prepare_all,
    prepare_first,
    write_images,
)
from tests.prepare.prepared_folder import Workspace
from tests.prepare.searching import search, unit_queries
from tests.prepare.waiting import chunks_grow, wait_for

KILLS_EMBEDDING, KILLS_INDEXING = 4, 2


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 small images, no two alike, and one in a hundred broken."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, images: Path, model: Path) -> Workspace:
    """The first thousand, prepared: what readers have while the rest is added."""
    return prepare_first(tmp_path_factory.mktemp("kill") / "first", images, model)


@pytest.fixture(scope="module")
def unbroken(first: Workspace, images: Path) -> Unbroken:
    """All of them, in one run."""
    return prepare_all(first, images)


def kill_at_random(workspace: Workspace, unbroken: Unbroken) -> None:
    """Start and kill prepare: at four moments of embedding, and at two of indexing."""
    chance = np.random.default_rng(7)
    for number in range(KILLS_EMBEDDING + KILLS_INDEXING):
        process = workspace.start()
        if number < KILLS_EMBEDDING:
            chunks_grow(workspace, int(chance.integers(0, 10)), process)
            moment_s = chance.uniform(0, unbroken.chunk_s)
        else:
            wait_for(lambda: indexing(workspace), process)
            moment_s = chance.uniform(0, unbroken.index_s / 2)
        time.sleep(moment_s)  # no wait for anything: the moment itself is what is drawn
        kill(process)
        assert workspace.load().manifest.version == "v000001"


@pytest.fixture(scope="module")
def killed(first: Workspace, images: Path, unbroken: Unbroken) -> Workspace:
    """All of them, killed six times on the way; no reader sees anything torn."""
    workspace = first.copy(first.root.with_name("killed")).having(images=[str(images)])
    with Reader(workspace).reading():
        kill_at_random(workspace, unbroken)
        workspace.prepare()
    return workspace


def test_the_collection_is_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """The same images by path, size, time and hashes, and the same ids."""
    assert unbroken.workspace.rows() == killed.rows()
    assert unbroken.workspace.ids() == killed.ids()
    assert len(killed.ids()) == IMAGES - IMAGES // BROKEN_EVERY


def test_the_vectors_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """Bit by bit, for each path."""
    expected, vectors = unbroken.workspace.vectors(), killed.vectors()
    assert list(expected) == list(vectors)
    np.testing.assert_array_equal(np.stack(list(expected.values())), list(vectors.values()))


def test_the_skipped_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """The same paths for the same reasons, one in a hundred."""
    assert unbroken.workspace.skipped() == killed.skipped()
    assert len(killed.skipped()) == IMAGES // BROKEN_EVERY


def test_nothing_is_embedded_twice(killed: Workspace, unbroken: Unbroken) -> None:
    """Each image is in one finished chunk only: what a kill loses is the chunk under way."""
    assert unbroken.workspace.embedded() == killed.embedded() == len(killed.ids())


def test_the_index_files_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """Keys, records, offsets and columns are equal byte by byte, and no more of them."""
    assert files_of(unbroken.workspace) == files_of(killed)


def test_the_manifests_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """Same model, counts, shards and digest of what went in."""
    assert facts(unbroken.workspace.manifest()) == facts(killed.manifest())
    assert killed.manifest().recall.value > 0.95


def test_answers_are_the_same(killed: Workspace, unbroken: Unbroken) -> None:
    """At high ef, the same ids in the same order with the same scores."""
    queries = unit_queries(50, killed.manifest().dim)
    expected = search(unbroken.workspace.load(), queries, 20, 2000)
    assert expected == search(killed.load(), queries, 20, 2000)


def test_no_half_made_version_stays(killed: Workspace) -> None:
    """The versions are whole, the same in all three folders, and no more than keep-versions."""
    versions = killed.versions()
    assert all((killed.folders.index / name / "MANIFEST").exists() for name in versions[0])
    assert versions == [versions[0]] * 3
    assert len(versions[0]) == 2


def test_a_torn_journal_line_is_not_there(first: Workspace) -> None:
    """Half a line at the journal's end, as a kill may leave it: its chunk is made again."""
    workspace = first.copy(first.root.with_name("torn"))
    expected = workspace.rows()
    journal = workspace.embeddings.path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert len(workspace.embeddings.entries()) == FIRST // CHUNK - 1

    workspace.prepare()

    assert expected == workspace.rows()
    assert len(workspace.embeddings.entries()) == FIRST // CHUNK
    shutil.rmtree(workspace.root)
