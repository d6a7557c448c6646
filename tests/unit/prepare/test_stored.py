"""Which files need not be read, and what they are then."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from prepare.chunks import Chunk, ChunkResult, EmbeddingFolder, Row, Skipped
from prepare.member_table import MemberTable
from prepare.members import Member
from prepare.sources import Source
from prepare.stored import StoredRows

A = Source("a.jpg", 3, 1)


@pytest.fixture
def folder(tmp_path: Path) -> EmbeddingFolder:
    """A chunk of each of two models; a.jpg is in both, others were skipped."""
    made = EmbeddingFolder(tmp_path)
    skipped = [Skipped("broken.jpg", 3, 1, "broken"), Skipped("large.jpg", 3, 1, "large", True)]
    for number, space in ((1, "space"), (2, "other")):
        rows = [Row("a.jpg", 3, 1, "c", "0"), Row("b.jpg", 3, number, "d", "0")]
        made.write(number, Chunk(np.eye(2, dtype=np.float32), rows, skipped), "clip", space)
    return made


def test_a_file_as_it_was_need_not_be_read(folder: EmbeddingFolder) -> None:
    """By size and time; nor one that is broken, but one that a limit refused."""
    stored = StoredRows(folder, "space")
    unchanged = partial(stored.unchanged, images=MemberTable([]))

    assert unchanged(A) == stored.of("a.jpg")
    assert unchanged(replace(A, mtime_ns=2)) is None
    assert unchanged(replace(A, size_bytes=2)) is None
    assert unchanged(replace(A, problem="empty")) is None
    assert unchanged(Source("b.jpg", 3, 2)) is None, "that is of another model"
    broken = unchanged(Source("broken.jpg", 3, 1))
    assert broken is not None
    assert (broken.chunk, broken.row) == (1, -1)
    assert unchanged(Source("broken.jpg", 3, 1, problem="empty")) is None
    assert unchanged(Source("large.jpg", 3, 1)) is None


def test_the_last_run_knows_where_files_went(folder: EmbeddingFolder) -> None:
    """G: a member has the embedding of its content, also under another name and time."""
    new, lost = Member("new.jpg", 3, 7, 1, 0, "c"), Member("lost.jpg", 3, 7, 9, 0, "f")
    stored, images = StoredRows(folder, "space"), MemberTable([new, lost])

    assert stored.unchanged(Source("new.jpg", 3, 7), images) == stored.of_content("c")
    assert stored.unchanged(Source("new.jpg", 3, 8), images) is None
    assert stored.unchanged(Source("lost.jpg", 3, 7), images) is None


def test_what_a_run_found_has_a_member(folder: EmbeddingFolder) -> None:
    """With the file as it is now, its roots and its metadata; skipped files have none."""
    stored = StoredRows(folder, "space")
    copy = Source("copy.jpg", 5, 6, {"year": 1})
    stored.add(3, [], [Skipped("a.jpg", 9, 9, "broken")])
    stored.add_results([ChunkResult(None, "", [("copy.jpg", "d")])])

    member = stored.of("copy.jpg").member(copy, ("root",))
    assert member == Member("copy.jpg", 5, 6, 1, 1, f"{0xD:016x}", ("root",), {"year": 1})
    skipped = stored.of("a.jpg").member(A, ())
    assert (skipped.chunk, skipped.is_searchable, skipped.content) == (3, False, "")
