"""A log that is not the one that a collection follows, or lacks entries, is not passed over."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.prepare.live import delete, id_of, log_of, put, span
from tests.prepare.prepared_folder import Workspace, add_images

LOG = "data/log.sqlite"


@pytest.fixture
def followed(twelve: Workspace) -> Workspace:
    """A collection that has the first two entries of its log, and not the third and fourth."""
    for seed in (20, 21):
        put(twelve, add_images(twelve.root / "data/uploads", [seed])[0])
    twelve.prepare()
    put(twelve, add_images(twelve.root / "data/uploads", [22])[0])
    delete(twelve, id_of(twelve, twelve.images / "00003.png"))
    return twelve


def lose(workspace: Workspace) -> None:
    for path in (workspace.root / "data").glob("log.sqlite*"):
        path.unlink()


def replace_by_another(workspace: Workspace) -> None:
    lose(workspace)
    for name in ("00004.png", "00005.png", "00006.png"):
        delete(workspace, id_of(workspace, workspace.images / name))


def lose_the_end(workspace: Workspace) -> None:
    with sqlite3.connect(workspace.root / LOG) as database:
        database.execute("DELETE FROM entry WHERE position > 1")
        database.execute("UPDATE log SET end = 1")
    database.close()


def trim_too_far(workspace: Workspace) -> None:
    with log_of(workspace) as log:
        log.trim(3)


def lose_an_entry(workspace: Workspace) -> None:
    with sqlite3.connect(workspace.root / LOG) as database:
        database.execute("DELETE FROM entry WHERE position = 3")
    database.close()


FAULTS = [
    (lose, "there is no log, and the collection follows log", 14),
    (replace_by_another, "there is log .*, and the collection follows log", 11),
    (lose_the_end, "the log ends at entry 1, the collection has 2", 14),
    (trim_too_far, "the log begins after entry 3, the collection has 2", 13),
]


@pytest.mark.parametrize(("damage", "message", "images"), FAULTS)
def test_a_log_that_does_not_go_on(
    followed: Workspace, damage: Callable[[Workspace], None], message: str, images: int
) -> None:
    """A run says what is wrong and changes nothing, until it is told to go on all the same."""
    damage(followed)
    files = {path: path.read_bytes() for path in followed.embeddings.path.iterdir()}
    add_images(followed.root / "more", [30])

    failed = followed.run("add", str(followed.root / "more"))

    assert failed.returncode == 2
    assert re.search(message, failed.stderr), failed.stderr
    assert "--accept-log" in failed.stderr
    assert files == {path: path.read_bytes() for path in followed.embeddings.path.iterdir()}
    assert followed.current() == "v000002"

    assert f"{images} images" in followed.prepare("--accept-log")
    assert f"{images} images, 0 looked at" in followed.prepare()
    with log_of(followed) as log:
        manifest = followed.manifest()
        assert (manifest.log_id, manifest.log_position) == (log.id(), log.end())


def test_an_entry_that_is_missing(followed: Workspace) -> None:
    """Stops a run, which changes nothing that can be searched."""
    lose_an_entry(followed)
    before = followed.ids()

    failed = followed.run()

    assert (failed.returncode, followed.ids()) == (2, before)
    assert "the log has entry 4 where 3 should be: images that were put or deleted" in failed.stderr


def test_a_collection_that_is_made_anew(followed: Workspace) -> None:
    """Deleting the embeddings loses what was trimmed: that is told."""
    followed.prepare()
    put(followed, add_images(followed.root / "data/uploads", [23])[0])
    followed.prepare()
    assert span(followed) == (4, 5)

    failed = followed.apart().run()

    assert failed.returncode == 2
    assert "the log begins after entry 4, the collection has 0" in failed.stderr


def test_a_log_that_cannot_be_read(followed: Workspace) -> None:
    """Stops a run before it changes anything: what was deleted would come back."""
    lose(followed)
    (followed.root / LOG).write_bytes(b"no database, but a file of a thousand bytes" * 30)

    failed = followed.run()

    assert failed.returncode == 2
    assert "the log of puts and deletes: " in failed.stderr
    assert followed.current() == "v000002"


def test_without_a_log(followed: Workspace) -> None:
    """Where none is wanted, the collection stays as it is."""
    config = {**followed.config, "Live": {"log": None}}

    told = followed.run(config=config)

    assert told.returncode == 0, told.stderr
    assert "14 images, 0 looked at" in told.stdout
    assert followed.current() == "v000002"


def test_a_folder_for_the_log_is_not_made(workspace: Workspace) -> None:
    """Who puts first makes the log: prepare reads it where it is."""
    add_images(workspace.images, range(2))

    workspace.prepare()

    assert not (workspace.root / Path(LOG)).exists()


def test_the_log_is_trimmed_to_what_kept_versions_need(twelve: Workspace) -> None:
    """Never beyond the version before, to which one may go back."""
    for number in range(20, 24):
        put(twelve, add_images(twelve.root / "data/uploads", [number])[0])
        twelve.prepare()
        assert span(twelve) == (number - 20, number - 19), "v000001 needs all"

    twelve.prepare(script="prepare/rollback.py")
    assert twelve.manifest().log_position == 3
