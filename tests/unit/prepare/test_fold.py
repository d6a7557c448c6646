"""The entries of a log, applied to a collection one after the other."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from common.config import Loaded, parse
from prepare import fold as fold_module
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.fold import UPLOADS, Fold, scan_uploads, store_vectors
from prepare.lines import Spill
from prepare.members import Folded, Member, Removed
from prepare.scan import Listed, RootScan
from prepare.sources import Found, Source
from prepare.stored import StoredRow, StoredRows
from search.image_key import key_of
from search.log import Entry
from search.messages import Record

CONTENTS = "a" * 16, "b" * 16
SPACE = "space"


class Collection:
    """A collection of one image, photos/a, with metadata of a table."""

    def __init__(self, root: Path, own: tuple[int, int] = (0, 0)) -> None:
        """`own` as in `Folded`."""
        root.mkdir(exist_ok=True)
        self.folder = EmbeddingFolder(root)
        row = Row("photos/a", 1, 1, CONTENTS[0], "0")
        self.folder.write(1, Chunk(np.eye(1, 2, dtype=np.float32), [row], []), "clip", SPACE)
        self.stored = StoredRows(self.folder, SPACE)
        self.loaded = Loaded(parse("{}"), root)
        told = Source("photos/a", 1, 1, {"year": 1})
        scans = [
            RootScan("photos", Found([told], [], set())),
            RootScan("a.csv", Found([], [], set())),
        ]
        held = Member("photos/a", 1, 1, 1, 0, CONTENTS[0], ("photos",), {"year": 1})
        skipped = Member("photos/broken", 1, 1, 1, -1)
        self.fold = Fold([held, skipped], Folded("id", 3, 2, own=own), scans, self.loaded)

    def apply(self, *entries: Entry) -> None:
        """Apply entries that follow what is folded."""
        numbered = list(enumerate(entries, self.fold.folded.position + 1))
        store_vectors(numbered, self.folder, self.stored, self.loaded, SPACE)
        self.fold.apply(numbered, self.stored)

    def metadata(self) -> dict[str, Any]:
        """What is told of each image."""
        return {image.path: image.metadata for image in self.fold.images}

    def image(self, path: str) -> Member:
        """The image at a path."""
        image = self.fold.images.get(path)
        assert image
        return image


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """A collection, whose model need not be there."""
    monkeypatch.setattr(fold_module, "find_model", lambda name, _: Path(name))
    return Collection(tmp_path)


def put(path: str, content: str, space: str = SPACE, **metadata: Any) -> Entry:
    vector = np.array([0, 1], "<f4").tobytes()
    record = msgspec.msgpack.encode(Record(path, metadata))
    return Entry("put", key_of(content, path, "1" * 16), space, vector, record)


def patch(path: str, content: str, **metadata: Any) -> Entry:
    return Entry("patch", key_of(content, path, "")[:16], record=msgspec.msgpack.encode(metadata))


def delete(path: str, content: str) -> Entry:
    return Entry("delete", key_of(content, path, "")[:16])


def test_an_image_that_is_put(made: Collection) -> None:
    """With the embedding of the log, below its root, or among the uploads."""
    a, b = CONTENTS
    made.apply(put("photos/b", b, title="x"), put("data/uploads/b", b), put("photos/a", a))

    new = Member("photos/b", 0, 0, 2, 0, b, ("photos",), {"title": "x"}, source_metadata={})
    assert made.image("photos/b") == new
    assert (made.image("data/uploads/b").roots, made.image("data/uploads/b").chunk) == (
        (UPLOADS,),
        2,
    )
    known = made.image("photos/a")
    assert (known.chunk, known.mtime_ns, known.metadata, known.source_metadata) == (
        *(1, 1, {}),
        {"year": 1},
    )
    assert [entry.rows for entry in made.folder.entries()] == [1, 1], "each content once"
    assert made.fold.folded == Folded("id", 6, 6)
    assert made.fold.changes == {"put": 3}


def test_entries_of_prepare_are_in_the_members(tmp_path: Path, made: Collection) -> None:
    """But not those that others wrote in their place, to a log that was put back."""
    a, b = CONTENTS
    own = Collection(tmp_path / "own", own=(3, 5))
    own.apply(put("photos/a", a, year=2), delete("photos/b", b))
    assert own.metadata() == made.metadata()
    assert own.fold.folded == Folded("id", 5, 5, own=(3, 5))

    others = Collection(tmp_path / "others", own=(3, 6))
    others.apply(put("photos/b", b), patch("photos/b", b, year=3), delete("photos/a", a))
    assert others.metadata() == {"photos/b": {"year": 3}}


def test_an_image_of_another_space(made: Collection) -> None:
    """It waits for its file, until it is deleted."""
    b = CONTENTS[1]
    made.apply(put("photos/b", b, space="other"))

    assert [image.path for image in made.fold.waiting()] == ["photos/b"]
    made.fold.follow([Listed(Source("photos/b", 1, 1), ())], [])
    assert made.fold.waiting() == []
    made.fold.follow([], [])
    made.apply(delete("photos/b", b))
    assert made.fold.waiting() == []


def test_patches_are_of_what_is_there(made: Collection) -> None:
    """Fields are set and removed; a patch before its put is nothing."""
    a, b = CONTENTS
    made.apply(
        patch("photos/a", a, title="x", year=None),
        patch("photos/b", b, title="y"),
        patch("photos/a", b, title="z"),
    )
    assert made.metadata() == {"photos/a": {"title": "x"}}
    assert made.fold.folded == Folded("id", 6, 4), "two changed nothing"
    made.apply(patch("photos/a", a, title=None), patch("photos/a", a, year=2))
    assert made.metadata() == {"photos/a": {"year": 2}}


def test_what_is_deleted_is_remembered(made: Collection) -> None:
    """Until it is put; also if the same path has other content by then."""
    a, b = CONTENTS
    made.apply(delete("photos/a", a), put("photos/a", b), delete("photos/a", a))
    assert made.image("photos/a").content == b
    assert made.fold.folded.removed == (Removed("photos/a", a, 1, 1),)

    made.apply(delete("photos/a", b), put("photos/a", a))
    assert made.image("photos/a").content == a
    assert made.fold.folded.removed == (Removed("photos/a", b, 0, 0),)


def test_an_image_that_replaces_another_has_no_more_of_its_id(made: Collection) -> None:
    """Search servers have both until the next run: who deletes the first does not want it back."""
    a, b = CONTENTS
    made.apply(put("photos/a", b), patch("photos/a", a, title="x"))
    assert made.metadata() == {"photos/a": {}}
    assert [image.content for image in made.fold.replaced.values()] == [a]
    made.apply(delete("photos/a", a), delete("photos/a", a))
    assert made.fold.folded.removed == (Removed("photos/a", a, 1, 1),)
    assert made.fold.changes == {"put": 1, "delete": 1}
    made.apply(put("photos/a", a), put("photos/a", b))
    assert [image.content for image in made.fold.replaced.values()] == [a]


@pytest.mark.parametrize(("root", "stays_out"), [(UPLOADS, False), ("photos", True)])
def test_a_copy_of_a_deleted_upload_is_another_image(
    made: Collection, root: str, stays_out: bool
) -> None:
    """Its file is gone as it was deleted, not as it was moved; that of a root was moved."""
    b = CONTENTS[1]
    held = Member(f"{root}/b", 1, 1, 1, 0, b, (root,))
    fold = Fold([held], Folded("id", 3, 2), [], made.loaded)
    fold.apply([(4, delete(held.path, b))], made.stored)
    copy = Listed(Source("photos/copy", 2, 2), ("photos",))
    found = [(copy, StoredRow(1, 0, b))]
    fold.follow([copy], found)

    assert list(fold.removals.keep_out(found)) == ([] if stays_out else found)
    assert fold.folded.removed


def test_uploads_are_looked_at_by_name(made: Collection) -> None:
    """Those that are there; other files of their folder are nothing to prepare."""
    assert scan_uploads(made.fold.images, made.loaded, Spill()) == []
    made.apply(put("data/uploads/b", CONTENTS[1]), put("data/uploads/gone", CONTENTS[1]))
    for name in ("b", "other"):
        path = made.loaded.path(f"data/uploads/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"file")

    (scan,) = scan_uploads(made.fold.images, made.loaded, Spill())

    assert [source.path for source in scan.found.sources] == ["data/uploads/b"]
    assert scan.root == UPLOADS
