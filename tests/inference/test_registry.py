"""Models by name: on this machine, and on the hub, which a local server stands in for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError
from devtools.services import CHECKOUT
from devtools.tiny_model import write_tiny_model
from inference.clip.model_files import MODELS
from inference.clip.registry import find_model
from tests.hub import REVISION, Hub, serving_hub

PRINT_FOLDER = """
import sys
from pathlib import Path
from common.process import run
from inference.clip.registry import find_model
run(lambda: print(find_model(sys.argv[1], Path())))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with one repository in Immich's layout, and other models' files in it."""
    folder = write_tiny_model(tmp_path / "repository")
    (folder / "visual/fp16").mkdir()
    (folder / "visual/fp16/model.armnn").write_bytes(b"not for us")
    with serving_hub("immich-app/ViT-B-32__openai", folder) as hub:
        yield hub


def find(name: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Find a model in a process of its own: the hub's client reads its settings once."""
    return subprocess.run(
        [sys.executable, "-c", PRINT_FOLDER, name],
        cwd=CHECKOUT,
        env={**os.environ, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_models_that_ship_and_folders_are_found(tmp_path: Path) -> None:
    """A name of ours wins; a path starts from the folder of config.json, or is absolute."""
    folder = write_tiny_model(tmp_path / "mine")

    assert MODELS / "starter" == find_model("starter", tmp_path)
    assert folder == find_model("mine", tmp_path)
    assert folder == find_model(str(folder), Path())


@pytest.mark.parametrize("name", ["ViT-Z-99::nobody", "no such thing", "/no/such/folder"])
def test_a_name_that_nobody_knows_is_refused(name: str) -> None:
    """Without asking the hub; the message says how to make what open_clip has."""
    with pytest.raises(ConfigError, match=r"no model .*inference/export.py"):
        find_model(name, Path())


@pytest.mark.parametrize("name", ["ViT-B/32", "ViT-B-32::openai", "immich-app/ViT-B-32__openai"])
def test_a_model_is_downloaded_once(hub: Hub, tmp_path: Path, name: str) -> None:
    """By any spelling; the second time nothing is asked for."""
    first = find(name, tmp_path / "home", HF_ENDPOINT=hub.address)
    asked = len(hub.requests)
    again = find(name, tmp_path / "home", HF_ENDPOINT=hub.address)
    offline = find(name, tmp_path / "home", HF_HUB_OFFLINE="1")

    assert first.returncode == 0, first.stderr
    assert "Fetching" in first.stderr
    assert first.stdout == again.stdout == offline.stdout
    assert first.stdout.strip().endswith(REVISION)
    assert asked == len(hub.requests)
    assert not any("armnn" in name for name in hub.files)


def test_a_model_stays_as_it_was_downloaded(hub: Hub, tmp_path: Path) -> None:
    """Weights that the hub has since then would not fit the index."""
    name, home = "somebody/tiny", tmp_path / "home"
    with serving_hub(name, hub.folder) as another:
        first = find(name, home, HF_ENDPOINT=another.address)
        another.revision = "b" * 40
        again = find(name, home, HF_ENDPOINT=another.address)

        assert first.stdout.strip().endswith(REVISION), first.stderr
        assert first.stdout == again.stdout
        wanted = find(f"{name}@{another.revision}", home, HF_ENDPOINT=another.address)
        assert wanted.stdout.strip().endswith(another.revision), wanted.stderr


def test_what_is_missing_of_a_model_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """Also where the cache does not know what belongs to it, as that of earlier releases."""
    name = "immich-app/ViT-B-32__openai"
    first = find(name, tmp_path / "home", HF_ENDPOINT=hub.address)
    for listing in (tmp_path / "home").rglob("trees"):
        shutil.rmtree(listing)
    (Path(first.stdout.strip()) / "visual/model.onnx").unlink()
    again = find(name, tmp_path / "home", HF_ENDPOINT=hub.address)

    assert first.stdout == again.stdout, again.stderr
    assert (Path(again.stdout.strip()) / "visual/model.onnx").exists()


def test_what_was_begun_of_a_model_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """Its weights beside the graph, too, and of the revision that is there."""
    name, home = "ViT-B/32", tmp_path / "home"
    (hub.folder / "visual/model.onnx.data").write_bytes(b"weights")
    first = find(name, home, HF_ENDPOINT=hub.address)
    for listing in home.rglob("trees"):
        shutil.rmtree(listing)
    weights = Path(first.stdout.strip()) / "visual/model.onnx.data"
    blob = weights.resolve()
    blob.rename(f"{blob}.1a2b3c4d.incomplete")
    weights.unlink()
    again = find(name, home, HF_ENDPOINT=hub.address)
    asked = len(hub.requests)
    last = find(name, home, HF_ENDPOINT=hub.address)

    assert first.stdout == again.stdout == last.stdout, again.stderr
    assert weights.read_bytes() == b"weights"
    assert asked == len(hub.requests), "what is left of a download does not matter then"


def test_a_download_that_breaks_off_goes_on(hub: Hub, tmp_path: Path) -> None:
    """From where it was; the file is whole in the end."""
    large = hub.folder / "visual/model.onnx.data"
    large.write_bytes(os.urandom(24 * 2**20))
    hub.break_after[large.name] = 15 * 2**20
    done = find("ViT-B/32", tmp_path / "home", HF_ENDPOINT=hub.address)

    assert done.returncode == 0, done.stderr
    assert (Path(done.stdout.strip()) / "visual" / large.name).read_bytes() == large.read_bytes()
    assert hub.ranges == ["bytes=10485760-"]  # the client keeps whole pieces of 10 MiB


def test_a_repository_may_be_pinned(hub: Hub, tmp_path: Path) -> None:
    """owner/name@revision."""
    name = f"immich-app/ViT-B-32__openai@{REVISION}"
    done = find(name, tmp_path / "home", HF_ENDPOINT=hub.address)

    assert done.stdout.strip().endswith(REVISION), done.stderr


def test_a_hub_that_cannot_be_reached_is_one_line_with_both_ways_out(
    hub: Hub, tmp_path: Path
) -> None:
    """Also offline by choice; exit status 2, and no traceback."""
    for environment in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = find("RN50", tmp_path / "home", **environment)
        assert done.returncode == 2
        (line,) = (one for one in done.stderr.splitlines() if one.startswith("error: "))
        assert "hf download immich-app/RN50__openai" in line
        assert "HF_HOME" in line
        assert '"starter"' in line
        assert "Traceback" not in done.stderr


def test_the_way_out_names_the_revision(hub: Hub, tmp_path: Path) -> None:
    """Offline, a download of another one would not be found."""
    done = find("ViT-B/32", tmp_path / "home", HF_HUB_OFFLINE="1")

    assert f"(hf download {hub.repository} --revision {REVISION})" in done.stderr


def test_a_repository_that_does_not_exist_is_named(hub: Hub, tmp_path: Path) -> None:
    """It is the hub's word, so no advice about the session."""
    done = find("somebody/else", tmp_path / "home", HF_ENDPOINT=hub.address)

    assert done.returncode == 2
    assert "error: somebody/else is no folder" in done.stderr
    assert "no public repository" in done.stderr


def test_half_a_download_is_refused(hub: Hub, tmp_path: Path) -> None:
    """A known model that lacks a tower in the cache, as after a kill, is not served so."""
    shutil.rmtree(hub.folder / "textual")
    done = find("ViT-B/32", tmp_path / "home", HF_ENDPOINT=hub.address)

    assert done.returncode == 2
    assert "the download is not whole: textual is missing" in done.stderr


def test_a_cache_that_cannot_be_written_is_said(hub: Hub, tmp_path: Path) -> None:
    """And not taken for a hub that cannot be reached."""
    (tmp_path / "home").write_text("a file")
    done = find("ViT-B/32", tmp_path / "home/here", HF_ENDPOINT=hub.address)

    assert done.returncode == 2
    assert "cannot be kept" in done.stderr


def test_a_repository_without_a_model_is_refused(hub: Hub, tmp_path: Path) -> None:
    """What was downloaded has to be in a layout that is read."""
    shutil.rmtree(hub.folder)
    hub.folder.mkdir()
    (hub.folder / "weights.bin").write_bytes(b"x")
    done = find("ViT-B/32", tmp_path / "home", HF_ENDPOINT=hub.address)

    assert done.returncode == 2
    assert "holds no model in a layout that we read" in done.stderr
