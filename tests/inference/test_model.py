"""Loading a model: its layouts, its runtimes, and what cannot run here."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from common.config import Inference
from common.errors import ConfigError
from devtools.tiny_model import SIZE, write_tiny_model
from inference.clip.encoders import TokenTextTower, unit_rows
from inference.clip.images import OPENAI_MEAN
from inference.clip.model import Model, load_model
from inference.clip.session import open_sessions
from inference.clip.tokens import pad

TEXTS = ["red", "a photo of the blue square", "green", "the square", "a red red red square"]
CPU = Inference(threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


@pytest.fixture
def files() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 12, 3), dtype=np.uint8)
    streams = [io.BytesIO() for _ in pixels]
    for stream, image in zip(streams, pixels, strict=True):
        Image.fromarray(image).save(stream, "PNG")
    return [stream.getvalue() for stream in streams]


def how(**keys: Any) -> Inference:
    return msgspec.structs.replace(CPU, **keys)


def assert_same(one: Model, other: Model, files: list[bytes], floor: float = 0.99999) -> None:
    """Both give the same embeddings."""
    for rows, expected in (
        (one.encode_text(TEXTS), other.encode_text(TEXTS)),
        (one.encode_images(files), other.encode_images(files)),
    ):
        assert (rows * expected).sum(axis=1).min() > floor


def fix_size(path: Path, axis: int, size: int) -> None:
    """Make a size of every input of an ONNX file a fixed one."""
    model = onnx.load(path)
    for one in model.graph.input:
        one.type.tensor_type.shape.dim[axis].dim_value = size
    onnx.save(model, path)


def test_the_pair_of_files_is_a_model_too(folder: Path, tmp_path: Path, files: list[bytes]) -> None:
    """textual.onnx and visual.onnx, with what the other layout keeps in folders beside them."""
    pair = tmp_path / "pair"
    pair.mkdir()
    for tower in ("textual", "visual"):
        shutil.copy(folder / tower / "model.onnx", pair / f"{tower}.onnx")
    shutil.copy(folder / "textual/tokenizer.json", pair)
    shutil.copy(folder / "visual/preprocess_cfg.json", pair)

    model = load_model(str(pair), CPU)

    assert model.dim == load_model(str(folder), CPU).dim
    assert_same(model, load_model(str(folder), CPU), files)


def test_a_bare_pair_is_openais(folder: Path, tmp_path: Path) -> None:
    """Its tokenizer and preprocessing are OpenAI's, for images of the size that it takes."""
    pair = tmp_path / "pair"
    pair.mkdir()
    for tower in ("textual", "visual"):
        shutil.copy(folder / tower / "model.onnx", pair / f"{tower}.onnx")

    model = load_model(str(pair), CPU)

    assert model.preprocessing is not None
    assert (SIZE, SIZE) == model.preprocessing.height_width
    assert OPENAI_MEAN == model.preprocessing.mean
    assert model.text is not None
    assert [49406, 320, 736, 3999, 49407] == model.text.prepare("A red  square").value[:5]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_networks_of_a_fixed_batch_size_are_fed_so(
    folder: Path, tmp_path: Path, files: list[bytes], size: int
) -> None:
    """As Immich's older exports are: more goes in parts, less is filled up."""
    expected = load_model(str(folder), CPU)
    fixed = Path(shutil.copytree(folder, tmp_path / "fixed"))
    for tower in ("textual", "visual"):
        fix_size(fixed / tower / "model.onnx", 0, size)
    fix_size(fixed / "textual/model.onnx", 1, 8)

    assert_same(load_model(str(fixed), CPU), expected, files)


@pytest.mark.parametrize("runtime", ["openvino"])
@pytest.mark.parametrize(("precision", "floor"), [("fp32", 0.99999), ("bf16", 0.999)])
def test_runtimes_agree(
    folder: Path, files: list[bytes], runtime: str, precision: str, floor: float
) -> None:
    """Another runtime, the same embeddings; tests/torch compares real architectures."""
    model = load_model(str(folder), how(runtime=runtime, precision=precision))

    assert_same(model, load_model(str(folder), CPU), files, floor)


def test_replicas_give_the_same(folder: Path, files: list[bytes]) -> None:
    """Each of three, whichever is free."""
    model = load_model(str(folder), how(replicas=3))
    assert model.image is not None
    assert {"cpu": 3} == model.image.replicas
    model.warm()

    for _ in range(4):
        assert_same(model, load_model(str(folder), CPU), files)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"precision": "bf16"}, "ONNX Runtime has no bf16"),
        ({"precision": "int8"}, "no model.int8.onnx .*export.py NAME --precision int8"),
        ({"precision": "fp16"}, "no model.fp16.onnx"),
        ({"device": "cuda"}, "there are 0 NVIDIA GPUs"),
        ({"device": "gpu"}, "ONNX Runtime does not run on gpu"),
        ({"runtime": "tensorrt"}, "ONNX Runtime with TensorRT does not run on cpu"),
        ({"runtime": "openvino", "device": "gpu"}, "model.onnx: "),
        ({"runtime": "torch"}, "requirements-torch.txt|no model.safetensors"),
    ],
)
def test_what_cannot_run_here_is_said(folder: Path, keys: dict[str, str], message: str) -> None:
    """In one line that names the key or the way to get it."""
    if keys.get("device") == "cuda" and Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=message) as raised:
        load_model(str(folder), how(**keys))
    assert "\n" not in str(raised.value)


def test_a_broken_network_is_said(folder: Path) -> None:
    """The message names the file."""
    (folder / "visual/model.onnx").write_bytes(b"no protobuf")

    with pytest.raises(ConfigError, match=r"visual/model.onnx: "):
        load_model(str(folder), CPU)


def test_a_network_for_bytes_is_refused(folder: Path) -> None:
    """Some exports on the hub normalise inside; they would be fed wrong values."""
    model = onnx.load(folder / "visual/model.onnx")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    cast = onnx.helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT)
    model.graph.node[0].input[0] = "floats"
    model.graph.node.insert(0, cast)
    onnx.save(model, folder / "visual/model.onnx")

    with pytest.raises(ConfigError, match="takes uint8"):
        load_model(str(folder), CPU)


def test_a_tower_that_sees_padding_is_fed_its_whole_context(folder: Path) -> None:
    """As in training, also where the session would take less; a mask would make it needless."""
    config = json.loads((folder / "config.json").read_bytes())
    config["text_cfg"]["no_causal_mask"] = True
    (folder / "config.json").write_text(json.dumps(config))
    model = onnx.load(folder / "textual/model.onnx")
    del model.graph.input[1]
    for node in model.graph.node:
        node.input[:] = ["input_ids" if name == "attention_mask" else name for name in node.input]
    onnx.save(model, folder / "textual/model.onnx")

    text = load_model(str(folder), CPU).text
    assert isinstance(text, TokenTextTower)
    session, *_ = open_sessions(folder / "textual/model.onnx", CPU)
    whole, _ = pad([text.prepare("a red square").value], 0, 8)
    expected = unit_rows(session.run({"input_ids": whole}))

    np.testing.assert_allclose(expected, text.embed([whole[0, :3].tolist()]), atol=1e-6)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("textual/tokenizer.json", b"{}", "tokenizer.json: "),
        ("visual/preprocess_cfg.json", b'{"size": 9, "mean": [0,0,0], "std": [1,1,1]}', "8 pixels"),
    ],
)
def test_files_that_do_not_fit_are_named(
    folder: Path, file: str, content: bytes, message: str
) -> None:
    """In a ConfigError, before anything is served."""
    (folder / file).write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        load_model(str(folder), CPU)


def test_one_tower_is_loaded_where_one_is_needed(folder: Path) -> None:
    """The other's file may be missing, and costs nothing."""
    (folder / "visual/model.onnx").rename(folder / "visual/elsewhere.onnx")
    model = load_model(str(folder), CPU, image=False)
    assert model.image is None
    np.testing.assert_allclose(1, np.linalg.norm(model.encode_text(TEXTS), axis=1), atol=1e-6)
