"""What was put, patched and deleted live is in the next version, and stays so."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from devtools.tiny_model import write_tiny_model
from tests.prepare.live import delete, id_of, log_of, metadata_of, patch, put
from tests.prepare.prepared_folder import Workspace, add_images, noise

UPLOADS = "data/uploads"


def upload(workspace: Workspace, seed: int) -> Path:
    """A file as an upload leaves it."""
    return add_images(workspace.root / UPLOADS, [seed])[0]


def test_an_upload_is_a_member_with_the_embedding_of_the_log(twelve: Workspace) -> None:
    """It is not embedded, has its metadata, and stays in further runs, which do not read it."""
    path = upload(twelve, 20)
    vector = put(twelve, path, 1, title="owl", year=2020)

    told = twelve.prepare()

    name = f"{UPLOADS}/00020.png"
    assert "live since the last run: 1 put, 0 patched, 0 deleted" in told
    assert "13 images, 1 looked at in this run, 0 skipped, 0 embedded, 0 offline" in told
    assert twelve.ids()[name] == id_of(twelve, path)
    np.testing.assert_array_equal(vector, twelve.vectors()[name])
    assert metadata_of(twelve)[name] == {"title": "owl", "year": 2020}
    before = twelve.manifest()
    with log_of(twelve) as log:
        assert (before.log_id, before.log_position) == (log.id(), 1)

    told = twelve.prepare()
    assert "13 images, 0 looked at in this run" in told
    assert "live" not in told
    assert before == twelve.manifest()


def test_a_file_that_was_put_and_is_found_is_one_member(twelve: Workspace) -> None:
    """With the metadata and the embedding of the put, whether a run knew it before or not."""
    new, known = add_images(twelve.images, [3, 20])[1], twelve.images / "00003.png"
    embedded, vector = twelve.vectors()["images/00003.png"], put(twelve, new, 1, title="new")
    put(twelve, known, 2, title="known")

    told = twelve.prepare()

    assert "13 images, 2 looked at in this run, 0 skipped, 0 embedded" in told
    metadata, vectors = metadata_of(twelve), twelve.vectors()
    assert (metadata["images/00020.png"], metadata["images/00003.png"]) == (
        {"title": "new"},
        {"title": "known"},
    )
    np.testing.assert_array_equal(vector, vectors["images/00020.png"])
    np.testing.assert_array_equal(embedded, vectors["images/00003.png"])
    assert "13 images, 0 looked at" in twelve.prepare()
    assert metadata == metadata_of(twelve)


def test_what_its_exif_tells_is_known_of_an_upload(twelve: Workspace) -> None:
    """As of an image that prepare embeds."""
    path, exif = upload(twelve, 20), Image.Exif()
    exif[ExifTags.Base.Make] = "Leica"
    noise(20).save(path, exif=exif)
    put(twelve, path)

    twelve.prepare()

    facts = {record.path: record.facts for record in twelve.indexed().values()}
    told = facts[f"{UPLOADS}/00020.png"]
    assert (told["camera"], told["size"]) == ("Leica", path.stat().st_size)


def test_put_and_deleted_between_two_runs(twelve: Workspace) -> None:
    """Nothing of it comes in, and still there is a version without it in the log."""
    path = upload(twelve, 20)
    put(twelve, path)
    delete(twelve, id_of(twelve, path))
    delete(twelve, "0" * 32)

    assert "live since the last run: 1 put, 0 patched, 1 deleted" in twelve.prepare()

    assert f"{UPLOADS}/00020.png" not in twelve.ids()
    assert (twelve.current(), twelve.manifest().log_position) == ("v000002", 3)


def test_entries_that_change_nothing_make_no_version(twelve: Workspace) -> None:
    """A deletion and a patch of what is not there."""
    put(twelve, upload(twelve, 20))
    twelve.prepare()
    delete(twelve, "0" * 32)
    patch(twelve, "1" * 32, title="x")

    twelve.prepare()

    assert (twelve.current(), twelve.manifest().log_position) == ("v000002", 1)


def test_patches_survive_and_tables_change_what_they_change(workspace: Workspace) -> None:
    """Field by field, what was written last; in one interval, what was written live."""
    add_images(workspace.images, range(3))
    table = workspace.root / "table.csv"
    table.write_text("path,title,year\nimages/00000.png,a,1\nimages/00001.png,b,2\n")
    workspace.prepare(str(table))
    patch(workspace, id_of(workspace, workspace.images / "00000.png"), title="A", place="x")
    patch(workspace, id_of(workspace, workspace.images / "00001.png"), year=None)
    workspace.prepare()

    def told() -> list[object]:
        found = metadata_of(workspace)
        return [found["images/00000.png"], found["images/00001.png"]]

    patched = [{"title": "A", "place": "x", "year": 1}, {"title": "b"}]
    assert told() == patched
    workspace.prepare()
    assert told() == patched

    table.write_text("path,title,year\nimages/00000.png,a,5\nimages/00001.png,c,2\n")
    workspace.prepare()
    assert told() == [{"title": "A", "place": "x", "year": 5}, {"title": "c"}]

    table.write_text("path,title,year\nimages/00000.png,z,5\nimages/00001.png,c,7\n")
    patch(workspace, id_of(workspace, workspace.images / "00000.png"), title="B")
    workspace.prepare()
    assert told() == [{"title": "B", "place": "x", "year": 5}, {"title": "c", "year": 7}]


def test_metadata_goes_with_a_file_that_is_moved(twelve: Workspace) -> None:
    """As put and patched; the embedding of the log, too."""
    path = add_images(twelve.images, [20])[0]
    vector = put(twelve, path, 1, title="owl")
    patch(twelve, id_of(twelve, path), year=2020)
    twelve.prepare()

    path.rename(twelve.images / "moved.png")
    assert "13 images, 1 looked at in this run, 0 skipped, 0 embedded" in twelve.prepare()
    assert "13 images, 0 looked at in this run" in twelve.prepare()

    assert metadata_of(twelve)["images/moved.png"] == {"title": "owl", "year": 2020}
    np.testing.assert_array_equal(vector, twelve.vectors()["images/moved.png"])


def test_another_model_embeds_what_was_put(
    twelve: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From its file; without the file it is told at each run, and comes in with the file."""
    here, lost = upload(twelve, 20), upload(twelve, 21)
    put(twelve, here, title="here", space="another")
    put(twelve, lost, title="lost", space="another")
    away = lost.rename(twelve.root / "away.png")

    told = twelve.prepare()

    assert f"skipped {UPLOADS}/00021.png: it was put when there was another model" in told
    assert "13 images, 1 looked at in this run, 1 skipped, 1 embedded" in told
    assert metadata_of(twelve)[f"{UPLOADS}/00020.png"] == {"title": "here"}

    other = write_tiny_model(tmp_path_factory.mktemp("model") / "other", seed=1)
    changed = Workspace(twelve.root, other, twelve.keys)
    away.rename(lost)
    assert "14 images, 14 looked at in this run, 0 skipped, 14 embedded" in changed.prepare()
    assert metadata_of(changed)[f"{UPLOADS}/00021.png"] == {"title": "lost"}


def test_uploads_that_are_absent_are_offline(twelve: Workspace) -> None:
    """As other images, when their folder is not mounted; they come back with their metadata."""
    path = upload(twelve, 20)
    put(twelve, path, title="owl")
    twelve.prepare()
    path.parent.rename(twelve.root / "away")

    assert "Live.upload-dir has no images (1)" in twelve.prepare(status=3)
    assert {f"{UPLOADS}/00020.png"} == twelve.offline()

    (twelve.root / "away").rename(path.parent)
    twelve.prepare()
    assert set() == twelve.offline()
    assert metadata_of(twelve)[f"{UPLOADS}/00020.png"] == {"title": "owl"}
