"""Prepare.exclude: what .gitignore's patterns leave out of a folder (cases of kind B)."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from prepare.exclude import Exclude
from tests.unit.prepare.walking import walk, write


@pytest.mark.parametrize(
    ("name", "told", "pattern"),
    [
        ("a/@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg", "a/@eaDir", "@eaDir/"),
        ("#recycle/x.jpg", "#recycle", r"\#recycle/"),
        ("$RECYCLE.BIN/S-1-5/x.jpg", "$RECYCLE.BIN", "$RECYCLE.BIN/"),
        ("a/__MACOSX/x.jpg", "a/__MACOSX", "__MACOSX/"),
        ("a/._owl.jpg", "a/._owl.jpg", "._*"),
        (".Trash-1000/files/x.jpg", ".Trash-1000", ".Trash*/"),
        ("a/.thumbnails/x.jpg", "a/.thumbnails", ".thumbnails/"),
        (".git/x.jpg", ".git", ".git/"),
        ("a/.hidden/x.jpg", "a/.hidden", ".*"),
        (".x.jpg", ".x.jpg", ".*"),
        ("Thumbs.db", "Thumbs.db", "Thumbs.db"),
        ("a\nb/@eaDir/x.jpg", "a\nb/@eaDir", "@eaDir/"),
    ],
)
def test_the_usual_suspects_are_left_out(
    tmp_path: Path, name: str, told: str, pattern: str
) -> None:
    """Kind B: each is told with the pattern that excludes it; a folder is told once."""
    write(tmp_path, name, "a/owl.jpg", "eaDir/x.jpg", "recycle/x.jpg")

    walked = walk(tmp_path)

    assert ["a/owl.jpg", "eaDir/x.jpg", "recycle/x.jpg"] == walked.taken
    assert {told: pattern} == {path: one.detail for path, one in walked.left_out.items()}


def test_patterns_are_git_s(tmp_path: Path) -> None:
    """Relative to the root, with `**`, `!` and a slash for folders; the last match counts."""
    write(tmp_path, "drafts/1.jpg", "a/drafts/2.jpg", "a/x/y/raw.jpg", "a/keep.png", "a/lose.png")

    walked = walk(tmp_path, exclude=["/drafts/", "a/**/raw.jpg", "*.png", "!keep.png"])

    assert ["a/keep.png", "a/drafts/2.jpg"] == walked.taken


def test_a_list_of_one_s_own_replaces_the_default(tmp_path: Path) -> None:
    """With none, nothing is left out."""
    write(tmp_path, ".hidden/x.jpg", "@eaDir/x.jpg")

    assert [".hidden/x.jpg", "@eaDir/x.jpg"] == walk(tmp_path, exclude=[]).taken


def test_a_root_is_taken_whatever_its_name(tmp_path: Path) -> None:
    """Patterns are for what is below a root; who names a hidden folder wants it."""
    write(tmp_path, ".photos/x.jpg", ".photos/.x.jpg", "@eaDir/x.jpg")

    assert [".photos/x.jpg", "@eaDir/x.jpg"] == walk(tmp_path, ".photos", "@eaDir").taken


@pytest.mark.parametrize("pattern", ["#recycle", "", "/", "a[", "\\"])
def test_a_pattern_that_matches_nothing_is_an_error(pattern: str) -> None:
    """Kind H: git would skip it without a word; the message says how a # is written."""
    with pytest.raises(ConfigError, match=r"Prepare\.exclude"):
        Exclude([pattern])
