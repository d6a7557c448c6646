"""Networks run by OpenVINO, on Intel's CPUs and GPUs; bf16 is fast where the CPU has it (AMX)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, MissingPackage
from common.wire import Matrix
from inference.clip.session import SessionOptions, Input, variant

try:
    import openvino
except ImportError:
    raise MissingPackage("Inference.runtime openvino: pip install openvino") from None

PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}


class OpenVinoSession:
    """A `session.Session`."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Raises ConfigError for a device that OpenVINO does not run on."""
        kind, number = options.device
        if kind == "cuda":
            raise ConfigError("OpenVINO does not run on cuda")
        if options.precision == "int8":
            path = variant(path, "int8")
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISIONS[options.precision]}
        if kind == "cpu":
            settings |= {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": 1}
        device = "CPU" if kind == "cpu" else f"GPU.{number}"
        try:
            compiled = openvino.Core().compile_model(str(path), device, settings)
        except RuntimeError as error:
            advice = ""
            if path.is_symlink():  # in the hub's cache; weights in files of their own are links too
                advice = "; OpenVINO follows no links: hf download NAME --local-dir FOLDER"
            raise ConfigError(f"{path}: {str(error).strip().splitlines()[-1]}{advice}") from None
        self._request = compiled.create_infer_request()
        self.inputs = tuple(
            Input(one.any_name, _sizes(one.partial_shape), one.element_type.to_dtype().type)
            for one in compiled.inputs
        )
        self.outputs = tuple(one.any_name for one in compiled.outputs)

    def run(self, feed: Mapping[str, NDArray[Any]], output: int = 0) -> Matrix:
        """Compute one output for a batch."""
        self._request.infer(dict(feed))
        # A copy: the tensor's memory is the next call's.
        return np.array(self._request.get_output_tensor(output).data, dtype=np.float32)


def _sizes(shape: Any) -> tuple[int | None, ...]:
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)
