"""prepare run again: only what has changed is looked at."""

import os

import numpy as np
import pytest

from devtools.tiny_model import write_tiny_model
from tests.prepare.prepared_folder import Workspace, add_images, noise, paths_of


def test_nothing_new_makes_no_version(twelve: Workspace) -> None:
    """A second run embeds nothing and leaves the version in use as it is."""
    before = twelve.manifest()

    told = twelve.prepare()

    assert "12 images, 0 looked at in this run, 0 skipped" in told
    assert before == twelve.manifest()


def test_only_added_images_are_embedded(twelve: Workspace) -> None:
    """New images are looked at, the others keep their rows and their ids."""
    ids, rows = twelve.ids(), twelve.rows()
    add_images(twelve.images, range(12, 15))

    told = twelve.prepare()

    assert "15 images, 3 looked at in this run" in told
    assert twelve.current() == "v000002"
    assert len(twelve.ids()) == 15
    assert ids.items() <= twelve.ids().items()
    assert rows.items() <= twelve.rows().items()


def test_a_changed_file_is_embedded_again(twelve: Workspace) -> None:
    """An overwritten image gets a new vector and a new id, and nothing else does."""
    ids, vectors = twelve.ids(), twelve.vectors()
    noise(99).save(twelve.images / "00003.png")

    told = twelve.prepare()

    changed = "images/00003.png"
    assert "12 images, 1 looked at in this run" in told
    assert {changed} == {path for path, name in twelve.ids().items() if ids[path] != name}
    new = twelve.vectors()
    assert {changed} == {path for path in new if not np.array_equal(new[path], vectors[path])}


def test_a_file_of_the_same_size_and_another_time_is_looked_at(twelve: Workspace) -> None:
    """G: the same bytes keep their id; a new version tells the time of the last change."""
    ids = twelve.ids()
    os.utime(twelve.images / "00003.png", ns=(1, 1))

    told = twelve.prepare()
    assert "12 images, 1 looked at in this run, 0 skipped, 0 embedded" in told
    assert ids == twelve.ids()
    facts = twelve.indexed()[ids["images/00003.png"]].facts
    assert "1970-01-01T00:00:00+00:00" == facts["modified"]
    assert "12 images, 0 looked at in this run" in twelve.prepare()


def test_a_folder_that_is_renamed_is_not_embedded(twelve: Workspace) -> None:
    """G: images are known by their content; each has the vector it had, and a new id."""
    vectors, ids = twelve.vectors(), twelve.ids()
    (twelve.images / "deep").mkdir()
    for path in twelve.images.glob("*.png"):
        path.rename(twelve.images / "deep" / path.name)

    told = twelve.prepare()

    assert "12 images, 12 looked at in this run, 0 skipped, 0 embedded, 0 offline" in told
    moved = {path.replace("deep/", ""): vector for path, vector in twelve.vectors().items()}
    assert {path: vector.tolist() for path, vector in vectors.items()} == {
        path: vector.tolist() for path, vector in moved.items()
    }
    assert {name[:16] for name in ids.values()} == {name[:16] for name in twelve.ids().values()}
    assert set(ids.values()).isdisjoint(twelve.ids().values())
    assert "12 images, 0 looked at in this run" in twelve.prepare()


def test_removed_images_leave_the_index(twelve: Workspace) -> None:
    """Files that are gone are not in the next version; their embeddings go with the last of it."""
    for number in range(5):
        (twelve.images / f"{number:05}.png").unlink()

    told = twelve.prepare()

    left = [f"{number:05}.png" for number in range(5, 12)]
    assert "7 images, 0 looked at in this run" in told
    assert paths_of(left) == twelve.ids().keys() == twelve.rows().keys()
    assert [entry.chunk for entry in twelve.embeddings.entries()] == [1, 2, 3]

    add_images(twelve.images, [20])
    twelve.prepare()
    assert [entry.chunk for entry in twelve.embeddings.entries()] == [2, 3, 4]
    assert not list(twelve.embeddings.path.glob("chunk-000001*"))


def test_an_image_that_breaks_leaves_the_index(twelve: Workspace) -> None:
    """A file that was good and no longer is goes from the rows to the skipped."""
    (twelve.images / "00003.png").write_bytes(b"broken")

    told = twelve.prepare()

    assert "11 images, 1 looked at in this run, 1 skipped" in told
    assert "images/00003.png" not in twelve.ids()


def test_an_image_that_comes_back_is_not_embedded_again(twelve: Workspace) -> None:
    """G: removed and added again, it has the id that it had."""
    ids, path = twelve.ids(), twelve.images / "00011.png"
    path.unlink()
    twelve.prepare()

    noise(11).save(path, compress_level=0)
    told = twelve.prepare()

    assert "12 images, 1 looked at in this run, 0 skipped, 0 embedded" in told
    assert ids == twelve.ids()


def test_ids_do_not_depend_on_how_the_index_is_built(twelve: Workspace) -> None:
    """From nothing, with other shards, chunks and links, the same images have the same ids."""
    anew = twelve.apart().having(shards=1, chunk_size=5, M=4)

    anew.prepare()

    assert twelve.ids() == anew.ids()


def test_other_settings_of_the_index_make_a_version_without_embedding(twelve: Workspace) -> None:
    """Another M or number of shards is a new version from the same embeddings."""
    told = twelve.having(M=5).prepare()
    assert "12 images, 0 looked at in this run" in told
    assert (twelve.current(), twelve.manifest().M) == ("v000002", 5)

    twelve.having(shards=2, M=5).prepare(script="prepare/build_index.py")
    assert (twelve.current(), len(twelve.manifest().shards)) == ("v000003", 2)


def test_another_model_embeds_all_again(
    twelve: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Embeddings of one image tower are never mixed with those of another."""
    other = write_tiny_model(tmp_path_factory.mktemp("model") / "other", seed=1)
    before, space = twelve.vectors(), twelve.manifest().space
    changed = Workspace(twelve.root, other, twelve.keys)

    assert "12 images, 12 looked at in this run" in changed.prepare()
    assert space != changed.manifest().space
    after = changed.vectors()
    assert [path for path in before if np.array_equal(before[path], after[path])] == []


def test_images_of_equal_bytes_are_told_apart_by_their_path(workspace: Workspace) -> None:
    """Copies of a file are indexed each, in the same shard, with the same half of the id."""
    for name in ("a.png", "b.png", "c.png"):
        noise(1).save(workspace.images / name)

    workspace.prepare()

    ids = workspace.ids()
    assert (len(set(ids.values())), len({name[:16] for name in ids.values()})) == (3, 1)
    assert sorted(files.count for files in workspace.manifest().shards) == [0, 0, 3]
