"""The embedding folder: what cannot be read is told as such, whatever befell the disk."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from prepare.chunks import Chunk, EmbeddingFolder, Row, Skipped
from prepare.journal import JOURNAL

ROWS = [Row("a.jpg", 3, 0, "0a", "0b"), Row("b.jpg", 3, 0, "0c", "0d")]


@pytest.fixture
def folder(tmp_path: Path) -> EmbeddingFolder:
    """Chunk 1, with two images and one that was skipped."""
    one = EmbeddingFolder(tmp_path)
    chunk = Chunk(np.eye(2, dtype=np.float32), ROWS, [Skipped("c.jpg", 3, 0, "broken")])
    one.write(1, chunk, "clip", "space")
    return one


def test_what_was_written_is_read_back(folder: EmbeddingFolder) -> None:
    """Vectors, rows, and what was skipped."""
    (entry,) = folder.entries()

    assert folder.rows(1) == ROWS
    assert folder.skipped(1)[0].reason == "broken"
    np.testing.assert_array_equal(folder.vectors(entry), np.eye(2))
    folder.verify([1])


@pytest.mark.parametrize("damage", [b"\xff", b"\n{}\n", b'\n{"chunk":"\xff"}\n', b"\n[[[[\n"])
def test_a_damaged_journal_is_told_as_such(folder: EmbeddingFolder, damage: bytes) -> None:
    """Where a byte of it is no UTF-8, too."""
    path = folder.path / JOURNAL
    path.write_bytes(path.read_bytes().replace(b'"clip"', b'"cl' + damage + b'"', 1))
    with pytest.raises(ConfigError, match="cannot be read"):
        folder.entries()


def test_dropped_chunks_are_swept_away(folder: EmbeddingFolder) -> None:
    """Their files stay until then."""
    folder.drop([1])
    assert folder.entries() == []
    folder.sweep()

    assert sorted(path.name for path in folder.path.iterdir()) == [JOURNAL]


def test_a_line_that_a_kill_cut_off_is_not_there(folder: EmbeddingFolder) -> None:
    """The next one takes its place."""
    path = folder.path / JOURNAL
    path.write_bytes(path.read_bytes() + b'{"chunk":2,"ro')
    assert [entry.chunk for entry in folder.entries()] == [1]
    folder.write(3, Chunk(np.eye(1, dtype=np.float32), ROWS[:1], []), "clip", "space")

    assert [entry.chunk for entry in folder.entries()] == [1, 3]
