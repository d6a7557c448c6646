"""What `list` and `status` print."""

from pathlib import Path

import numpy as np
import pytest

from common.config import Loaded, parse
from common.roots import Root, Roots
from prepare.chunks import EmbeddingFolder
from prepare.fold import UPLOADS
from prepare.members import Folded, Member, Removed, write_members
from prepare.roots import write_roots
from prepare.status import list_roots, print_status
from prepare.versions import put_in_use
from search.manifest import MANIFEST
from tests.unit.indexing import folders_in, write_version


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Two roots with four files, one of them in both."""
    folder = EmbeddingFolder(tmp_path / "data/embeddings")
    folder.path.mkdir(parents=True)
    names = "a", "my\nlist.txt"
    write_roots(folder.path, Roots(tuple(map(Root, names)), ()))
    members = [
        Member("a/1.png", 1, 0, 1, 0, roots=names),
        Member("a/2.png", 1, 0, 1, 1, roots=names[:1]),
        Member("a/3.png", 1, 0, 1, -1, roots=names[:1]),
        Member("b/4.png", 1, 0, 1, 2, roots=names[1:], offline=True),
    ]
    write_members(folder, members)
    return Loaded(parse("{}"), tmp_path)


def test_counts_by_root(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    """Searchable, offline and skipped; and the version in use, if there is one."""
    print_status(loaded)
    assert capsys.readouterr().out.splitlines() == [
        "root          searchable  offline  skipped",
        "a                      2        0        1",
        "my\\nlist.txt           1        1        0",
        "version in use: none",
    ]
    list_roots(loaded)
    assert capsys.readouterr().out == "a\nmy\\nlist.txt\n"


def test_what_was_written_live(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    """Uploads have a line of their own, and deletions are counted."""
    folder = EmbeddingFolder(loaded.root / "data/embeddings")
    uploaded = Member("data/uploads/a.png", 1, 0, 1, 3, roots=(UPLOADS,))
    write_members(folder, [uploaded], Folded("id", 2, 2, (Removed("a/5.png", "c", 1, 0),)))

    print_status(loaded)

    told = capsys.readouterr().out.splitlines()
    assert told[3:] == [
        "Live.upload-dir           1        0        0",
        "deleted live: 1",
        "version in use: none",
    ]


def test_the_version_in_use(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that is damaged."""
    folders = folders_in(loaded.root / "data")
    manifest = write_version(folders, "v000003", np.eye(4, dtype=np.float32))
    put_in_use(folders, manifest.named, 2)
    print_status(loaded)
    assert "version in use: v000003, 4 images" in capsys.readouterr().out
    (folders.index / "v000003" / MANIFEST).unlink()
    print_status(loaded)
    assert "version in use: v000003, which cannot be read" in capsys.readouterr().out


def test_before_the_first_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to tell, and no error."""
    print_status(Loaded(parse("{}"), tmp_path))
    list_roots(Loaded(parse("{}"), tmp_path))
    assert capsys.readouterr().out.splitlines()[-1] == "version in use: none"
