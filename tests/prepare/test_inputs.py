"""What prepare may be given, and what it says when that cannot be."""

import csv
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from common.errors import ConfigError
from prepare.sources import find_sources
from tests.prepare.prepared_folder import Workspace, add_images, paths_of

FOUR = [f"{number:05}.png" for number in range(4)]


@pytest.fixture
def four(workspace: Workspace) -> Workspace:
    """A workspace with four images, not prepared."""
    add_images(workspace.images, range(4))
    return workspace


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def metadata_of(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The metadata of each image of the index, by path."""
    return {record.path: record.metadata for record in workspace.indexed().values()}


def test_several_inputs_make_one_collection(four: Workspace) -> None:
    """Folders and files on the command line are taken together, and each image once."""
    add_images(four.root / "more", range(4, 6))
    add_images(four.root / "single", range(6, 8))

    four.prepare("images", str(four.root / "more"), "more", "single/00006.png")

    others = {"more/00004.png", "more/00005.png", "single/00006.png"}
    assert paths_of(FOUR) | others == four.ids().keys()


def test_images_outside_the_folder_are_told_from_their_roots(
    four: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The index has their whole paths; a root that gets a namesake is told with more names."""
    outside = tmp_path_factory.mktemp("outside")
    (one,) = add_images(outside / "a/photos", [9])
    (other,) = add_images(outside / "b/photos", [8])

    four.prepare("images", str(one.parent))
    assert paths_of(FOUR) | {str(one)} == four.ids().keys()
    assert paths_of(FOUR) | {"photos/00009.png"} == told(four)

    again = four.prepare("images", str(one.parent), str(other.parent))
    assert paths_of(FOUR) | {"a/photos/00009.png", "b/photos/00008.png"} == told(four)
    assert "6 images, 1 looked at in this run" in again


def told(workspace: Workspace) -> set[str]:
    """The paths that answers tell."""
    return {record.told_path for record in workspace.indexed().values()}


def test_a_list_names_images_beside_it(four: Workspace) -> None:
    """Lines of a .txt are paths relative to it; one that is not there is skipped with a reason."""
    lines = [*FOUR[:2], "", "absent.png", "nul\0.png", str(four.images / FOUR[2])]
    (four.images / "list.txt").write_text("\n".join(lines), encoding="utf-8")

    told = four.prepare("images/list.txt")

    assert paths_of(FOUR[:3]) == four.ids().keys()
    assert "3 images, 5 looked at in this run, 2 skipped" in told
    assert "skipped images/absent.png: No such file or directory" in told


def test_the_columns_of_a_csv_are_metadata(four: Workspace) -> None:
    """G: every column but `path` comes back; a change of one shows, and embeds nothing."""
    rows = [{"path": f"images/{name}", "title": f"No. {name}", "city": "Łódź"} for name in FOUR]
    write_csv(four.root / "table.csv", rows)
    four.prepare("table.csv")
    expected = {row["path"]: {"title": row["title"], "city": row["city"]} for row in rows}
    assert expected == metadata_of(four)

    rows[1]["city"] = "Köln"
    write_csv(four.root / "table.csv", rows)
    told = four.prepare("table.csv")

    expected["images/00001.png"]["city"] = "Köln"
    assert "4 images, 0 looked at in this run" in told
    assert expected == metadata_of(four)


def test_the_columns_of_a_parquet_table_are_metadata(four: Workspace) -> None:
    """Numbers, truth values and nulls keep their types; what JSON has not becomes text or null."""
    columns = {
        "path": [f"images/{name}" for name in FOUR],
        "year": [1999, None, 2**62, -1],
        "score": [0.5, float("nan"), float("inf"), None],
        "public": [True, False, None, True],
        "tags": [["a"], [], None, ["b", "c"]],
    }
    parquet.write_table(pyarrow.table(columns), four.root / "table.parquet")

    four.prepare("table.parquet")

    told = metadata_of(four)
    assert told["images/00000.png"] == {"year": 1999, "score": 0.5, "public": True, "tags": '["a"]'}
    assert told["images/00001.png"] == {"year": None, "score": None, "public": False, "tags": "[]"}
    assert "4 images, 0 looked at in this run" in four.prepare("table.parquet")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent", None, "no folder, list or image"),
        ("absent.txt", None, "cannot read"),
        ("absent.csv", None, "cannot read"),
        ("absent.parquet", None, "cannot read"),
        ("latin.txt", b"\xff.png\n", "cannot read"),
        ("latin.csv", b"path\n\xff.png\n", "cannot read"),
        ("pathless.csv", b"name\nx.png\n", "no column `path`"),
        ("broken.parquet", b"PAR1 this is none", "cannot read"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    """The error names the input and what is wrong with it."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=told) as raised:
        find_sources(tmp_path / name, tmp_path)

    assert str(tmp_path / name) in str(raised.value)


def test_a_parquet_path_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """A column `path` of numbers is refused as a missing one is."""
    table = tmp_path / "numbers.parquet"
    parquet.write_table(pyarrow.table({"path": [1, 2]}), table)

    with pytest.raises(ConfigError, match="no column `path`"):
        find_sources(table, tmp_path)


def test_a_missing_folder_stops_before_anything_is_embedded(four: Workspace) -> None:
    """Exit status 2 and one line that names the folder; nothing is embedded."""
    done = four.run("images", "absent")

    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert f"error: there is no folder, list or image {four.root / 'absent'}" == line
    assert [] == four.embeddings.entries()


def test_a_text_that_is_no_list_is_not_added(four: Workspace) -> None:
    """Kind H: a file named by mistake is refused with what a list is, and the collection stays."""
    four.prepare()
    (four.root / "notes.txt").write_text("milk\nand bread\n")

    done = four.run("add", "notes.txt")

    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert f"error: there are no images in {four.root / 'notes.txt'}" in line
    assert "none is there, such as and bread." in line
    assert "A list (.txt) has the path of an image on each line" in line
    assert ["images"] == four.prepare("list").splitlines()
    assert "4 images, 0 looked at in this run, 0 skipped" in four.prepare()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"feature_dim": 17}, "Prepare.feature-dim is 17, but"),
        ({"path_dir": "data/index"}, "Prepare.index-dir, path-dir and hash-dir"),
        ({"index_dir": "data/hashes"}, "Prepare.index-dir, path-dir and hash-dir"),
        ({"colour": 1}, "colour"),
        ({"chunk_size": 0}, "chunk-size"),
        ({"keep_versions": 1}, "keep-versions"),
    ],
)
def test_a_wrong_configuration_is_named(four: Workspace, keys: dict[str, Any], told: str) -> None:
    """Exit status 2 and one line that names the key."""
    config = {**four.config["Prepare"], **{key.replace("_", "-"): keys[key] for key in keys}}

    done = four.run(config={**four.config, "Prepare": config})

    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_right_feature_dim_is_taken(four: Workspace) -> None:
    """A feature-dim that the model gives changes nothing."""
    four.having(feature_dim=16).prepare()

    assert four.manifest().dim == 16


def test_an_index_without_embeddings_is_an_error(four: Workspace) -> None:
    """build_index before save_embedding says what to run first."""
    done = four.run(script="prepare/build_index.py")

    assert done.returncode == 2
    assert "run prepare/save_embedding.py first" in done.stderr


def test_both_steps_alone_do_what_prepare_does(four: Workspace) -> None:
    """save_embedding.py and then build_index.py give the index that prepare.py gives."""
    four.prepare(script="prepare/save_embedding.py")
    assert four.current() is None
    four.prepare(script="prepare/build_index.py")
    ids = four.ids()

    anew = four.apart()
    anew.prepare()

    assert ids == anew.ids()
