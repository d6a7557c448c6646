"""Segment Anything exported from torch: MobileSAM and ViT-B with random weights."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from common.config import CHECKOUT, Inference
from common.errors import ConfigError
from devtools.random_sam import write_checkpoint
from inference.export import export_sam
from inference.exporting.sam_export import check_sam
from inference.segment.sam import load_sam

OWL = (CHECKOUT / "samples/owl.jpg").read_bytes()


@pytest.fixture(scope="module", params=["vit_t", "vit_b"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, its export, and what exporting printed."""
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(request.param, folder / "sam.pth")
    with (folder / "told").open("w") as told, redirect_stdout(told):
        export_sam(folder / "sam.pth", folder / "exported")
    return folder


def test_an_export_gives_what_torch_gives(
    model: Path, record_property: Callable[[str, object], None]
) -> None:
    """Features and masks, of a model built anew: exporting changes MobileSAM's in memory."""
    told = (model / "told").read_text()
    found = re.search(r"torch ([\d.]+), worst overlap of masks ([\d.]+)", told)
    assert found

    assert float(found[1]) >= 0.9999
    assert float(found[2]) >= 0.99
    record_property(f"{model.name} features", float(found[1]))
    record_property(f"{model.name} masks, overlap", float(found[2]))


def test_an_export_is_served(model: Path) -> None:
    """A click and a box on a photo."""
    sam = load_sam(str(model / "exported"), Inference(), Path())
    size, features = sam.encode(OWL, Inference().max_pixels)

    for points, box in (([(0.5, 0.5, 1)], None), ([], (0.2, 0.2, 0.8, 0.8))):
        assert sam.decode(features, size, points, box).mask.startswith(b"\x89PNG")


def test_weights_of_another_model_are_told_apart(tmp_path: Path, model: Path) -> None:
    """The check that refuses a bad export."""
    if not model.name.startswith("vit_t"):
        pytest.skip("once is enough")
    write_checkpoint("vit_t", tmp_path / "other.pth", seed=1)
    with pytest.raises(ConfigError, match=r"below 0\.9999"):
        check_sam(tmp_path / "other.pth", model / "exported")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """And leaves no folder."""
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("text", "other", "none"):
        with pytest.raises(ConfigError, match="no checkpoint"):
            export_sam(tmp_path / f"{name}.pth", tmp_path / "exported")

    assert not (tmp_path / "exported").exists()


def test_other_precisions_are_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    done = subprocess.run(
        [sys.executable, "inference/export.py", "sam.pth", "--precision", "fp16"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "fp32 alone" in done.stderr
