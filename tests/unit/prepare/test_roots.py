"""What a collection is told to hold: what commands, the configuration and the images say."""

from pathlib import Path

import pytest

from common.config import Loaded, parse
from common.errors import ConfigError
from common.roots import COLLECTION, Roots, read_roots
from prepare.roots import Change, changed, write_roots


def config(root: Path, *images: str) -> Loaded:
    named = ", ".join(f'"{name}"' for name in images)
    return Loaded(parse(f'{{"Prepare": {{"images": [{named}]}}}}'), root)


def after(loaded: Loaded, change: Change, *known: str) -> Roots:
    """The roots after the first run with these images."""
    return changed(None, change, loaded, known)


def test_a_collection_begins_with_what_is_named_first(tmp_path: Path) -> None:
    """On the command line, else in the configuration, else by the images of a lost file."""
    loaded = config(tmp_path, "a", "/b")

    assert after(loaded, Change()).names == ["a", "/b"]
    assert after(loaded, Change((tmp_path / "c",))).names == ["c"]
    assert after(loaded, Change((tmp_path / "c",)), "x").names == ["x", "c"]


def test_a_root_of_an_earlier_release_may_be_removed(tmp_path: Path) -> None:
    """It kept two slashes at the front."""
    change = Change(remove=(Path("/mnt/a"),))

    assert after(config(tmp_path), change, "//mnt/a", "b").names == ["b"]


def test_what_is_new_in_the_configuration_is_added(tmp_path: Path) -> None:
    """What was there before is not, so that a root that was removed stays out."""
    roots = after(config(tmp_path, "a", "b"), Change())
    roots = changed(roots, Change(remove=(tmp_path / "b",)), config(tmp_path, "a", "b"), ())

    assert changed(roots, Change(), config(tmp_path, "a", "b"), ()).names == ["a"]
    assert changed(roots, Change(), config(tmp_path, "c"), ()).names == ["a", "c"]


def test_what_a_root_holds_is_not_added_without_a_word(tmp_path: Path) -> None:
    """But by `add`; a hidden folder is not held, and a table is more than a file of its folder."""
    (tmp_path / "a/b/.c").mkdir(parents=True)
    (tmp_path / "a/t.csv").touch()
    loaded = config(tmp_path, "a")
    names = ("a/b", "a/b/.c", "a/t.csv", "a")
    paths = tuple(tmp_path / name for name in names)

    assert changed(None, Change(paths, inner=False), loaded, ["a"]).names == [
        "a",
        "a/b/.c",
        "a/t.csv",
    ]
    assert changed(None, Change(paths), loaded, ["a"]).names == ["a", "a/b", "a/b/.c", "a/t.csv"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(remove=(Path("/x"),)), "/x was not added to the collection; it has: a"),
        (Change(remove=(Path("/c/a"),)), "cannot be empty"),
        (Change((Path("/\udcff"),)), "not UTF-8"),
    ],
)
def test_what_cannot_be_is_refused(change: Change, told: str) -> None:
    """H: with what to do."""
    with pytest.raises(ConfigError, match=told):
        after(config(Path("/c"), "a"), change)


def test_roots_are_kept_as_they_are(tmp_path: Path) -> None:
    """In readable JSON; a damaged file is told."""
    roots = after(config(tmp_path, "a\u0301 & b"), Change())
    assert read_roots(tmp_path) is None
    write_roots(tmp_path, roots)
    assert read_roots(tmp_path) == roots
    assert '"path": "a\u0301 & b"' in (tmp_path / COLLECTION).read_text()
    (tmp_path / COLLECTION).write_text("{}")
    with pytest.raises(ConfigError, match="delete it"):
        read_roots(tmp_path)
