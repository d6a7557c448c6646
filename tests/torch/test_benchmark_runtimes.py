"""The table of runtimes beside torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
from safetensors.torch import save_file

from devtools.matmul import flop_per_image, matmul_flop_per_s
from devtools.services import run_command
from inference.clip.registry import find_model
from tests.benchmarks.commands import read_tables
from tests.torch.originals import REAL
from tests.torch.test_archive import hide

# One figure takes a call, or a few.
BRIEF = (
    *("--only", "runtimes", "--rounds", "1", "--seconds", "0.001", "--idle-s", "0"),
    *("--batches", "1", "2", "--results", "results"),
)
STARTER = {"onnxruntime fp32", "openvino fp32", "openvino bf16"}
EXPORTED = STARTER | {"onnxruntime int8", "openvino int8"}
EXPORTED |= {"torch eager fp32", "torch eager fp32, padded", "torch eager bf16"}


def write_tower(folder: Path, config: dict[str, Any]) -> None:
    """The image tower of an exported model, as far as torch needs it."""
    (folder / "visual").mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "visual/preprocess_cfg.json").write_text('{"size": [224, 224]}')
    tower = open_clip.CustomTextCLIP(**config).visual
    save_file(tower.state_dict(), folder / "visual/model.safetensors")


def rows(output: str) -> dict[str, dict[str, dict[str, str]]]:
    """The cells of the printed table, by model and runtime."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name, cells in read_tables(output)["runtimes"].items():
        model, _, runtime = name.partition(", ")
        found.setdefault(model, {})[runtime] = cells
    return found


@pytest.fixture
def kept(tmp_path: Path, exported: Callable[[str], Path]) -> Path:
    """A folder with a random model that an earlier run of the benchmarks has left."""
    folder = tmp_path / "data/benchmarks"
    (folder / "sources").mkdir(parents=True)
    (folder / REAL).symlink_to(exported(REAL) / "exported")
    (folder / "sources" / REAL).symlink_to(exported(REAL) / "source")
    return tmp_path


def test_every_runtime_is_measured_beside_torch(kept: Path) -> None:
    """Models with torch's weights in each runtime, as ratios to torch eager; the starter without;
    the result file has the same."""
    arguments = ("--architecture", REAL, *BRIEF)
    done = run_command("benchmarks/bench.py", {}, *arguments, cwd=kept)

    assert 0 == done.returncode, done.stderr
    found = rows(done.stdout)
    assert ["starter", REAL] == list(found)
    assert STARTER == set(found["starter"])
    assert EXPORTED == set(found[REAL])
    assert "left out: torch eager fp32: no model.safetensors" in done.stdout
    for runtime, cells in found[REAL].items():
        assert (2 if "padded" in runtime else 4) == len(cells), runtime
        assert all(cell.endswith("x)") for cell in cells.values()), runtime
    eager = found[REAL]["torch eager fp32"].values()
    assert {"(1.00x)"} == {cell.split()[1] for cell in eager}
    (file,) = (kept / "results").iterdir()
    results = json.loads(file.read_bytes())
    assert "torch" in results["versions"]
    # For each runtime two image and two text batch sizes, but for padded.
    assert 4 * (len(STARTER) + len(EXPORTED)) - 2 == len(results["results"])
    assert all(figure["value"] > 0 for figure in results["results"])


def test_without_open_clip_the_configured_model_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The architecture is left out with the reason."""
    hide("open_clip", tmp_path, monkeypatch)
    done = run_command("benchmarks/bench.py", {}, *BRIEF, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert "left out: ViT-B-32, for starter: there is no" in done.stdout
    assert {"starter": STARTER} == {name: set(found) for name, found in rows(done.stdout).items()}


def test_the_cost_of_an_image_is_all_its_matrix_products(tmp_path: Path) -> None:
    """Of a ViT: patches, linear layers, attention and the projection; unknown without weights.

    The last layer has keys and values of all tokens, and all else of one.
    """
    width, layers, tokens, patch = 384, 12, 50, 3 * 32 * 32
    sums = (tokens - 1) * patch * width  # each with a product
    sums += (layers - 1) * (12 * tokens * width**2 + 2 * tokens**2 * width)
    sums += (2 * tokens + 10) * width**2 + 2 * tokens * width
    sums += width * 256
    model = {
        "embed_dim": 256,
        "vision_cfg": open_clip.get_model_config(REAL)["vision_cfg"],
    }
    write_tower(tmp_path, {**model, "text_cfg": {"layers": 1}})

    assert 2 * sums == flop_per_image(tmp_path)
    assert flop_per_image(find_model("starter", tmp_path)) is None
    assert matmul_flop_per_s("cpu", size=64) > 0


def test_an_architecture_that_nobody_knows_ends_in_one_line(tmp_path: Path) -> None:
    """Exit status 2, and no result file."""
    arguments = ("--architecture", "ViT-none", *BRIEF)
    done = run_command("benchmarks/bench.py", {}, *arguments, cwd=tmp_path)

    assert 2 == done.returncode, done.stderr
    assert "error: " in done.stderr
    assert not (tmp_path / "results").exists()
