"""Writing a torch model as a folder of ONNX files; needs requirements-torch.txt."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn
from torch.export import Dim

from inference.clip.clip_tokenizer import write_clip_tokenizer
from inference.clip.images import Preprocessing
from inference.clip.model_files import ModelConfig
from inference.clip.session import files_of, variant_path
from inference.exporting.pooled_token import pool_early
from inference.exporting.torch_models import BASE, Original, save_weights

OPSET = 18
MAX_BATCH = 4096
"""torch's exporter needs a limit; our batches are much smaller."""


def write_model(
    original: Original, folder: Path, precisions: Sequence[str], keep_torch: bool
) -> None:
    """Write the whole folder of a model; raises the errors of torch's exporter."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(original.config, indent=2))
    towers = {"textual": (original.text, _text_example(original))}
    if original.image is not None and original.preprocessing:
        towers["visual"] = (original.image, _image_example(original.preprocessing))
    for name, (tower, example) in towers.items():
        print(f"writing {name}", flush=True)
        path = folder / name / "model.onnx"
        path.parent.mkdir()
        if keep_torch:
            save_weights(tower, path.with_suffix(".safetensors"))
            if hasattr(tower, "transformer") and hasattr(tower.transformer, "config"):
                tower.transformer.config.save_pretrained(folder / "textual" / BASE)
        _write_network(pool_early(tower), example, path)
        for precision in precisions:
            print(f"writing {name} in {precision}", flush=True)
            PRECISIONS[precision](path, variant_path(path, precision))
    if original.preprocessing:
        file = folder / "visual/preprocess_cfg.json"
        file.write_text(json.dumps(original.preprocessing, indent=2))
    _write_tokenizer(original, folder / "textual")


def forbid_draft(folder: Path) -> None:
    """Set `draft` to false for the model in `folder`: large JPEGs are then decoded whole."""
    path = folder / "visual/preprocess_cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "draft": False}, indent=2))


def _text_example(original: Original) -> dict[str, tuple[torch.Tensor, dict[int, Any]]]:
    """Inputs for tracing and their variable sizes. Without `sees_padding`, the length varies."""
    batch = Dim("batch", max=MAX_BATCH)
    text = msgspec.convert(original.config, ModelConfig).text_cfg
    longest, trims = text.context_length, not text.sees_padding
    ids = torch.ones(2, 9 if trims else longest, dtype=torch.int64)
    ids[:, 4] = 2
    sizes = {0: batch, 1: Dim("length", min=2, max=longest)} if trims else {0: batch}
    if "m_clip" in original.config:
        return {"input_ids": (ids, sizes), "attention_mask": (torch.ones_like(ids), sizes)}
    return {"text": (ids, sizes)}


def _image_example(preprocessing: dict[str, Any]) -> dict[str, tuple[torch.Tensor, dict[int, Any]]]:
    height, width = msgspec.convert(preprocessing, Preprocessing).height_width
    return {"image": (torch.randn(2, 3, height, width), {0: Dim("batch", max=MAX_BATCH)})}


def _write_network(
    tower: nn.Module, example: dict[str, tuple[torch.Tensor, dict[int, Any]]], path: Path
) -> None:
    # The exporter cannot export torch's fused attention kernel.
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's parts warn of deprecated calls in each other
        program = torch.onnx.export(
            tower,
            tuple(value for value, _ in example.values()),
            input_names=list(example),
            output_names=[f"{path.parent.name}_embedding"],
            dynamic_shapes=tuple(sizes for _, sizes in example.values()),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    cast(torch.onnx.ONNXProgram, program).save(str(path))


def _write_tokenizer(original: Original, folder: Path) -> None:
    """Write tokenizer.json: open_clip's own tokenizer is converted, transformers saves others."""
    if hasattr(original.tokenizer, "bpe_ranks"):
        write_clip_tokenizer(folder / "tokenizer.json", original.tokenizer)
    else:
        inner = getattr(original.tokenizer, "tokenizer", original.tokenizer)
        inner.save_pretrained(folder)


def _write_fp16(path: Path, target: Path) -> None:
    """Convert weights and computation to float16; inputs and outputs keep their types."""
    large = _is_large(path)
    # onnx cannot infer the shapes of a large network, so the exporter's shapes are used.
    model = convert_float_to_float16(onnx.load(path), keep_io_types=True, disable_shape_infer=large)
    onnx.save(model, target, save_as_external_data=large, location=f"{target.name}.data")


def _write_int8(path: Path, target: Path) -> None:
    """Quantise weights to int8 by output channel, and activations dynamically."""
    large = _is_large(path)
    model = onnx.load(path)
    # Quantisation would stop where onnx infers other shapes than the exporter noted.
    model.graph.ClearField("value_info")
    source = target.with_suffix(".source")
    onnx.save(model, source, save_as_external_data=large, location=f"{source.name}.data")
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )
    for file in files_of(source):
        file.unlink()


def _is_large(path: Path) -> bool:
    """Whether a network is too large for one protobuf file."""
    return sum(file.stat().st_size for file in files_of(path)) > onnx.checker.MAXIMUM_PROTOBUF


PRECISIONS = {"fp16": _write_fp16, "int8": _write_int8}
