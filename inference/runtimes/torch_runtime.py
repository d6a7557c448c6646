"""Sessions of torch, compiled or not, on the CPU or CUDA."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, MissingPackage
from common.wire import Matrix
from inference.clip.images import read_preprocessing
from inference.clip.session import Input, SessionOptions

try:
    import torch

    from inference.exporting.torch_models import load_tower
except ImportError:
    raise MissingPackage(
        "Inference.runtime torch needs an environment with requirements-torch.txt (make torch)"
    ) from None

HAS_CUDA = torch.version.cuda is not None
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchSession:
    """A `session.Session` of torch. Its weights are the safetensors file beside the ONNX file."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Open the tower of the ONNX file `path`.

        Raises ConfigError for missing weights, or a device or precision that torch cannot use.
        """
        weights = path.with_suffix(".safetensors")
        if not weights.is_file():
            raise ConfigError(
                f"no {weights.name} in {path.parent}: the torch runtime needs a model that"
                " python inference/export.py NAME --torch has written"
            )
        if options.precision not in DTYPES or options.device.kind == "gpu":
            raise ConfigError(f"torch: no {options.precision} on {options.device.kind} here")
        config = json.loads((path.parent.parent / "config.json").read_bytes())
        torch.set_num_threads(options.threads)
        self.device = options.device
        self._device = torch.device(*options.device) if options.device.kind == "cuda" else None
        self._dtype = DTYPES[options.precision]
        self.inputs = _inputs(path, config)
        self.outputs: tuple[str, ...] = ("embedding",)
        tower = load_tower(weights, config).to(self._device, self._dtype)
        self._tower = torch.compile(tower, dynamic=True) if options.compiled else tower

    def replica(self) -> "TorchSession":
        """This session itself: calls only read the weights, so they may overlap."""
        return self

    def run(self, feed: Mapping[str, NDArray[Any]], output: int = 0) -> Matrix:
        """Compute the embeddings of a batch."""
        with torch.inference_mode():
            tensors = [self._tensor(feed[tower_input.name]) for tower_input in self.inputs]
            rows = self._tower(*tensors)
            result: Matrix = rows.float().cpu().numpy()
        return result

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(values)
        if self._device is not None:
            # From pinned memory 256 images are on a GPU in 12 ms, pinning included; else in 21.
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


def _inputs(path: Path, config: dict[str, Any]) -> tuple[Input, ...]:
    if path.parent.name == "visual":
        preprocessing = read_preprocessing(path.with_name("preprocess_cfg.json"))
        return (Input("image", (None, 3, *preprocessing.height_width), np.float32),)
    names = ("input_ids", "attention_mask") if "m_clip" in config else ("text",)
    return tuple(Input(name, (None, None), np.int64) for name in names)
