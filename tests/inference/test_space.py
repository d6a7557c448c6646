"""What makes an image space, and which models share one."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from common.config import Inference
from devtools.services import CHECKOUT, running, with_section
from devtools.tiny_model import write_tiny_model
from inference.clip.model import load_model
from inference.clip.model_files import MODELS

CPU = Inference(threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def test_the_space_is_the_image_tower_all_of_it(folder: Path) -> None:
    """Weights in files beside the graph count; the text tower and other precisions do not."""
    before = load_model(str(folder), CPU).space
    (folder / "visual/model.int8.onnx").write_bytes(b"another precision")
    (folder / "visual/labels.json").write_bytes(b"[]")
    (folder / "visual/model.safetensors").write_bytes(b"the same weights for torch")
    (folder / "textual/more").write_bytes(b"x")
    assert before == load_model(str(folder), CPU).space

    (folder / "visual/model.onnx.data").write_bytes(b"weights")
    assert before != load_model(str(folder), CPU).space


def test_weights_beside_a_pair_count(folder: Path, tmp_path: Path) -> None:
    """visual.onnx.data is part of the image tower."""
    for tower in ("textual", "visual"):
        shutil.copy(folder / tower / "model.onnx", tmp_path / f"{tower}.onnx")
    before = load_model(str(tmp_path), CPU).space
    (tmp_path / "visual.onnx.data").write_bytes(b"weights")

    assert before != load_model(str(tmp_path), CPU).space


def starts(config: dict[str, Any], cwd: Path) -> None:
    with running("inference/inference.py", config, cwd=cwd):
        pass


def test_models_without_a_common_space_stop_the_start(folder: Path, tmp_path: Path) -> None:
    """clip without images, and texts that have images of their own."""
    write_tiny_model(tmp_path / "other", seed=1)
    shutil.copytree(folder, tmp_path / "blind")
    shutil.rmtree(tmp_path / "blind/visual")
    config = with_section({}, "Inference", port=0, clip="blind", mclip=None)
    with pytest.raises(AssertionError, match="clip: blind embeds no images"):
        starts(config, tmp_path)

    config = with_section({}, "Inference", port=0, clip="tiny", mclip="other")
    with pytest.raises(AssertionError, match="other has images of its own"):
        starts(config, tmp_path)
    shutil.rmtree(tmp_path / "other/visual")
    starts(config, tmp_path)


def test_files_of_other_engines_change_nothing(tmp_path: Path) -> None:
    """A copy of what Immich keeps has some; a download of ours leaves them out."""
    folder = write_tiny_model(tmp_path / "tiny")
    before = load_model("tiny", root=tmp_path)
    for name in ("visual/model.armnn", "textual/model.armnn", "visual/model.rknn"):
        (folder / name).write_bytes(b"not for us")
    after = load_model("tiny", root=tmp_path)

    assert (before.space, before.digest) == (after.space, after.digest)


def test_a_text_tower_is_refused_beside_strange_images() -> None:
    """M-CLIP's towers each meet one image model: another is a mismatch that nobody would see."""
    config = with_section({}, "Inference", clip="ViT-L/14", mclip="XLM-Roberta-Large-Vit-B-32")
    with pytest.raises(AssertionError, match="set clip to ViT-B-32::openai"):
        starts(config, CHECKOUT)


def test_the_starters_space_has_not_moved() -> None:
    """Indexes that people have built with it go on working, but for a new `images.VERSION`."""
    assert load_model("starter", CPU, text=False).space.startswith("6eddf72dc9f4556f")
    assert (MODELS / "clip-tokenizer.json").is_file()
