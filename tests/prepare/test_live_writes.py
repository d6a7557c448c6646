"""What a run has found goes to the log, or an index is built."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import pytest

from common.config import Loaded
from common.errors import ConfigError
from devtools.tiny_model import write_tiny_model
from prepare import live_writes
from prepare.live_log import pages
from prepare.live_writes import write_live
from prepare.lock import locked
from prepare.options import add_arguments
from prepare.save_embedding import save_embeddings
from prepare.watch import Looks, add_watch_arguments
from search.log import Entries
from tests.prepare.live import delete, entries, id_of, span
from tests.prepare.prepared_folder import Workspace, add_images, noise


def test_nothing_new_is_nothing(twelve: Workspace) -> None:
    """Not even a log is made."""
    assert write_live(twelve.loaded, save_embeddings(twelve.loaded)) == 0
    assert span(twelve) == (0, 0)


def test_others_may_write_to_other_images(twelve: Workspace) -> None:
    """The next run takes up what they wrote, and counts nothing of ours."""
    add_images(twelve.images, [20])
    outcome = save_embeddings(twelve.loaded)
    delete(twelve, id_of(twelve, twelve.images / "00003.png"))

    assert write_live(twelve.loaded, outcome) == 1

    again = save_embeddings(twelve.loaded)
    assert (dict(again.live), again.images, again.read) == ({"delete": 1}, 12, 0)
    assert write_live(twelve.loaded, again) == 0, "servers know of the deletion"


def test_others_that_write_to_the_same_image_come_first(twelve: Workspace) -> None:
    """Theirs would be lost if ours came behind it."""
    new = add_images(twelve.images, [20])[0]
    outcome = save_embeddings(twelve.loaded)
    delete(twelve, id_of(twelve, new))

    assert write_live(twelve.loaded, outcome) is None
    assert len(entries(twelve)) == 1


def test_a_log_that_has_gone_meanwhile_is_not_made_anew(twelve: Workspace) -> None:
    """The servers follow the former one: an index is built, which says so."""
    delete(twelve, id_of(twelve, twelve.images / "00003.png"))
    save_embeddings(twelve.loaded)
    add_images(twelve.images, [20])
    outcome = save_embeddings(twelve.loaded)
    log = twelve.loaded.path("data/log.sqlite")
    for part in log.parent.glob(f"{log.name}*"):
        part.unlink()

    assert write_live(twelve.loaded, outcome) is None
    assert not log.exists()


@pytest.mark.parametrize("theirs", ["same image", "other image", "again and again"])
def test_others_that_write_at_the_same_moment(
    twelve: Workspace, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    """After the look at what they wrote, before ours is in the log: theirs is not undone."""
    touched, other = (twelve.images / name for name in ("00003.png", "00004.png"))
    os.utime(touched, (1, 1))
    outcome = save_embeddings(twelve.loaded)
    deleted = id_of(twelve, touched if theirs == "same image" else other)
    times = iter(range(100 if theirs == "again and again" else 1))

    def looked(*asked: Any) -> Iterator[Entries]:
        yield from pages(*asked)
        if next(times, None) is not None:
            delete(twelve, deleted)

    monkeypatch.setattr(live_writes, "pages", looked)
    wrote = write_live(twelve.loaded, outcome)

    assert wrote == (1 if theirs == "other image" else None)
    assert ("put" in [op for op, _, _ in entries(twelve)]) == (wrote == 1)
    again = save_embeddings(twelve.loaded)
    assert again.images == 11


def test_another_run_between(twelve: Workspace) -> None:
    """What it found is not known here."""
    add_images(twelve.images, [20])
    outcome = save_embeddings(twelve.loaded)
    add_images(twelve.images, [21])
    save_embeddings(twelve.loaded)

    assert write_live(twelve.loaded, outcome) is None


def test_too_much_for_a_log(twelve: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact searches of it would cost more than an index."""
    monkeypatch.setattr(live_writes, "MOST", 2)
    for seeds, written in (([20, 21], 2), ([22, 23, 24], None)):
        add_images(twelve.images, seeds)
        assert write_live(twelve.loaded, save_embeddings(twelve.loaded)) == written


def test_another_model(twelve: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Servers of the index in use would refuse its embeddings."""
    other = write_tiny_model(tmp_path_factory.mktemp("model") / "other", seed=1)
    loaded = Workspace(twelve.root, other, twelve.keys).loaded
    noise(77).save(twelve.images / "00003.png")

    assert write_live(loaded, save_embeddings(loaded)) is None


def looks_of(loaded: Loaded) -> Looks:
    """As `watch` makes them."""
    parser = ArgumentParser()
    add_arguments(parser)
    add_watch_arguments(parser)
    return Looks(loaded, parser.parse_args([]))


def test_only_the_first_look_ends_by_an_error(twelve: Workspace, caplog: Any) -> None:
    """A later one is made again, and then an index is built: it may have found something."""
    looks = looks_of(twelve.loaded)
    with locked(twelve.embeddings.path), pytest.raises(ConfigError, match="another run"):
        looks.look()
    assert looks.look()
    add_images(twelve.images, [20])
    with locked(twelve.folders.index):
        assert looks.look(), "nothing is built"
    assert len(entries(twelve)) == 1

    with locked(twelve.embeddings.path):
        assert not looks.look()
    assert "another run is writing" in caplog.text
    assert looks.look()
    assert twelve.current() == "v000002"
