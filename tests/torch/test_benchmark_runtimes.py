"""The table of runtimes beside torch."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
from safetensors.torch import save_file

from benchmarks.matmul import flop_per_image, matmul_flop_per_s
from devtools.services import run_command
from devtools.tiny_model import write_tiny_model
from inference.clip.registry import find_model
from tests.torch.test_archive import hide

# One figure takes a call, or a few.
BRIEF = (
    *("--seconds", "0.001", "--rounds", "1", "--results", "results"),
    *("--text-batches", "1", "3", "--image-batches", "2"),
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


def rows(output: str) -> dict[str, dict[str, list[str]]]:
    """The cells of a printed table, by model and runtime."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in output.splitlines():
        if line.startswith("| ") and not line.startswith(("| model", "| ---")):
            model, runtime, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found.setdefault(model, {})[runtime] = cells
    return found


def test_every_runtime_is_measured_beside_torch(tmp_path: Path) -> None:
    """Models with torch's weights in each runtime, as ratios to torch eager; the starter without;
    the result file has the same."""
    arguments = ("--architecture", "ViT-S-32-alt", *BRIEF)
    done = run_command("benchmarks/runtimes.py", {}, *arguments, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    found = rows(done.stdout)
    assert ["starter", "ViT-S-32-alt"] == list(found)
    assert STARTER == set(found["starter"])
    assert EXPORTED == set(found["ViT-S-32-alt"])
    assert "left out: torch eager fp32: no model.safetensors" in done.stdout
    for runtime, (images, *texts) in found["ViT-S-32-alt"].items():
        assert ("padded" in runtime) == (images == ""), runtime
        assert all(cell.endswith("x)") for cell in [images or "(x)", *texts]), runtime
    (file,) = (tmp_path / "results").iterdir()
    kept = json.loads(file.read_bytes())
    assert {"date", "commit", "machine", "versions", "settings", "config"} <= set(kept)
    assert "torch" in kept["versions"]
    # For each runtime an image and two text batch sizes, but for padded.
    assert 3 * (len(STARTER) + len(EXPORTED)) - 1 == len(kept["results"])
    assert all(rate["per_s"] > 0 for rate in kept["results"])


def test_without_open_clip_only_what_is_there_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An architecture that an earlier run exported is, any other is left out with the reason."""
    hide("open_clip", tmp_path, monkeypatch)
    write_tiny_model(tmp_path / "data/benchmarks/tiny")
    arguments = ("--architecture", "tiny", "--architecture", "ViT-B-32", *BRIEF)
    done = run_command("benchmarks/runtimes.py", {}, *arguments, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert "left out: ViT-B-32: there is no" in done.stdout
    found = {model: set(cells) for model, cells in rows(done.stdout).items()}
    assert {"starter": STARTER, "tiny": STARTER} == found


def test_the_cost_of_an_image_is_all_its_matrix_products(tmp_path: Path) -> None:
    """Of a ViT: patches, linear layers, attention and the projection; unknown without weights."""
    width, layers, tokens, patch = 384, 12, 50, 3 * 32 * 32
    sums = (tokens - 1) * patch * width  # each with a product
    sums += layers * (12 * tokens * width**2 + 2 * tokens**2 * width)
    sums += width * 256
    model = {
        "embed_dim": 256,
        "vision_cfg": open_clip.get_model_config("ViT-S-32-alt")["vision_cfg"],
    }
    write_tower(tmp_path, {**model, "text_cfg": {"layers": 1}})

    assert 2 * sums == flop_per_image(tmp_path)
    assert flop_per_image(find_model("starter", tmp_path)) is None
    assert matmul_flop_per_s("cpu", size=64) > 0


@pytest.mark.parametrize(
    "arguments", [("--architecture", "ViT-none"), ("--model", "none"), ("--rounds", "0")]
)
def test_what_cannot_be_ends_in_one_line(tmp_path: Path, arguments: tuple[str, str]) -> None:
    """A name that nobody knows, or no rounds: exit status 2 and no result file."""
    done = run_command("benchmarks/runtimes.py", {}, *BRIEF, *arguments, cwd=tmp_path)

    assert 2 == done.returncode, done.stderr
    assert "error: " in done.stderr
    assert not (tmp_path / "results").exists()
